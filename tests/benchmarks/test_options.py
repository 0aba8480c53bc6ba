"""What is refused before anything is measured."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["training", "--systems", "seqlab", "joey"], "`--systems` must be some of .*, but names 'joey'"),
        (["quality", "--systems", "seqlab, other"], "`--systems` must be some of .*'seqlab, number_words'.*"),
        (["decoding", "--run", "none"], "`--run`: there is no folder none"),
        (["growth", "--json", "none/growth.json"], "`--json`: there is no folder none"),
    ],
)
def test_wrong_options_are_named_at_once(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main([*options, "--quick"])
    assert list(tmp_path.iterdir()) == []
