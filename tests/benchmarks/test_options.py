"""Options of the benchmarks that are refused before anything is measured."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["training", "--systems", "seqlab", "joey"], "`--systems` must be among .*, but 'joey' is not"),
        (["quality", "--systems", "seqlab, other"], "`--systems` must be among .*'seqlab, number_words'.*"),
        (["decoding", "--run", "none"], "`--run`: the folder none does not exist"),
        (["growth", "--json", "none/growth.json"], "`--json`: the folder none does not exist"),
    ],
)
def test_invalid_options_are_refused_before_measuring(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main([*options, "--quick"])
    assert list(tmp_path.iterdir()) == []
