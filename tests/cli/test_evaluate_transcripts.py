"""`seqlab evaluate` of transcripts: error rates, normalization, groups and the lines with most errors."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest

TRANSCRIPT_REFERENCES = ["The cat sat, on the mat.", "Hello - World!", "", "It's fine", "one two three"]
TRANSCRIPT_HYPOTHESES = ["the cat sat on mat", "hello world", "noise", "its fine", "one two too free"]
TRANSCRIPT_BASELINE = ["a cat sat on the mat", "hello", "", "it\u2019s fine", "won to three"]
SPEAKERS = ["anna", "ben", "ben", "", "anna"]


@pytest.fixture
def transcripts(tmp_path: Path) -> dict[str, str]:
    """Write transcripts of two systems, and a manifest with references and speakers."""
    (tmp_path / "hyp").write_text("".join(f"{line}\n" for line in TRANSCRIPT_HYPOTHESES), encoding="utf-8")
    (tmp_path / "base").write_text("".join(f"{line}\n" for line in TRANSCRIPT_BASELINE), encoding="utf-8")
    rows = [{"text": text, "speaker": speaker} for text, speaker in zip(TRANSCRIPT_REFERENCES, SPEAKERS, strict=True)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    test = f"{tmp_path}/test.jsonl"
    return {
        "hyp": str(tmp_path / "hyp"),
        "base": str(tmp_path / "base"),
        "ref": f"{test}#text",
        "speaker": f"{test}#speaker",
    }


def normalize_plain(line: str) -> str:
    """Normalize a transcript of this file as `--normalize plain` does."""
    return " ".join(re.sub("[^a-z' ]", "", line.lower().replace("\u2019", "'")).split())


@pytest.mark.parametrize(("form", "normalize"), [("none", str), ("lower", str.lower), ("plain", normalize_plain)])
def test_error_rates_of_normalized_transcripts_match_jiwer(
    seqlab, transcripts: dict[str, str], form: str, normalize: Callable[[str], str]
) -> None:
    command = ("evaluate", transcripts["hyp"], "--ref", transcripts["ref"], "--metrics", "wer", "cer")
    options = () if form == "none" else ("--normalize", form)
    found = json.loads(seqlab(*command, *options, "--json").out)
    references, hypotheses = (
        [normalize(line) for line in lines] for lines in (TRANSCRIPT_REFERENCES, TRANSCRIPT_HYPOTHESES)
    )
    assert found["wer"]["value"] == pytest.approx(100 * jiwer.wer(references, hypotheses))
    assert found["cer"]["value"] == pytest.approx(100 * jiwer.cer(references, hypotheses))
    assert found["wer"]["signature"] == f"nrefs:1|case:mixed|unit:token|norm:{form}"
    assert found["cer"]["signature"] == f"nrefs:1|case:mixed|unit:character|norm:{form}"


def test_only_error_rates_compare_normalized_lines(seqlab, transcripts: dict[str, str]) -> None:
    command = ("evaluate", transcripts["hyp"], "--ref", transcripts["ref"], "--metrics", "bleu", "exact_match")
    before = json.loads(seqlab(*command, "--json").out)
    found = json.loads(seqlab(*command, "wer", "--normalize", "plain", "--json").out)
    assert {name: found[name] for name in before} == before


def test_error_rates_ignore_unicode_normalization_and_spaces(seqlab, tmp_path: Path) -> None:
    (tmp_path / "hyp").write_text("caf\u00e9\na  b \n", encoding="utf-8")
    (tmp_path / "ref").write_text("cafe\u0301\na b\n", encoding="utf-8")
    command = ("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "wer", "cer")
    result = seqlab(*command, "--json")
    assert [each["value"] for each in json.loads(result.out).values()] == [0, 0]
    assert result.err == ""
    assert "count as different in exact_match" in seqlab(*command, "exact_match").err


def test_the_interval_is_added_without_changing_the_score(seqlab, transcripts: dict[str, str]) -> None:
    from seqlab.evaluation import METRICS, bootstrap_interval

    command = ("evaluate", transcripts["hyp"], "--ref", transcripts["ref"], "--metrics", "wer", "chrf")
    before, found = (json.loads(seqlab(*command, "--json", *more).out) for more in ((), ("--interval",)))
    for name in ("wer", "chrf"):
        expected = bootstrap_interval(METRICS[name](TRANSCRIPT_HYPOTHESES, [TRANSCRIPT_REFERENCES]))
        assert found[name] == before[name] | expected.as_dict()
    printed = seqlab(*command, "--interval").out.decode().splitlines()
    assert [line.split()[0].partition("|")[0] for line in printed] == ["wer", "wer", "chrF2", "chrF2"]
    assert printed[::2] == seqlab(*command).out.decode().splitlines()
    assert "wer 95% interval = " in printed[1]


def test_scores_are_grouped_by_speaker(seqlab, transcripts: dict[str, str]) -> None:
    command = ("evaluate", transcripts["hyp"], "--ref", transcripts["ref"], "--by", transcripts["speaker"])
    options = ("--metrics", "wer", "exact_match", "--normalize", "plain")
    found = json.loads(seqlab(*command, *options, "--json").out)
    for each in found["wer"]["by"]["groups"]:
        lines = [i for i, speaker in enumerate(SPEAKERS) if speaker == each["group"]]
        references, hypotheses = (
            [normalize_plain(texts[i]) for i in lines] for texts in (TRANSCRIPT_REFERENCES, TRANSCRIPT_HYPOTHESES)
        )
        assert each["lines"] == len(lines)
        assert each["value"] == pytest.approx(100 * jiwer.wer(references, hypotheses))
        assert each["length"] == sum(len(line.split()) for line in references)
    assert found["wer"]["by"]["total"]["value"] == found["wer"]["value"]
    assert [each["group"] for each in found["exact_match"]["by"]["groups"]] == ["", "anna", "ben"]
    printed = seqlab(*command, *options).out.decode().splitlines()
    assert printed[2].split() == ["group", "lines", "wer", "N", "S", "D", "I"]
    assert [line.split()[0] for line in printed[3:7]] == ["(none)", "anna", "ben", "total"]


def test_the_lines_with_most_errors_are_shown_as_alignments_with_their_locations(
    seqlab, transcripts: dict[str, str]
) -> None:
    command = ("evaluate", transcripts["hyp"], "--ref", transcripts["ref"], "--worst", "2", "--normalize", "plain")
    printed = seqlab(*command).out.decode().splitlines()
    assert printed[0].startswith("wer|")
    assert printed[1:] == [
        "",
        f"{transcripts['hyp']}, line 5: N 3, S 1, D 0, I 1",
        "REF: one two *** three",
        "HYP: one two too free",
        "             I   S",
        "",
        f"{transcripts['hyp']}, line 1: N 6, S 0, D 1, I 0",
        "REF: the cat sat on the mat",
        "HYP: the cat sat on *** mat",
        "                    D",
    ]
    [first, second] = json.loads(seqlab(*command, "--json").out)["wer"]["worst"]
    assert (first["line"], first["location"]) == (5, f"{transcripts['hyp']}, line 5")
    assert second["alignment"][4] == ["the", None]
    by_characters = seqlab(*command, "--metrics", "cer").out.decode().splitlines()
    assert by_characters[3:6] == ["REF: *****", "HYP: noise", "     IIIII"]


def test_baseline_transcripts_are_normalized_before_comparison(seqlab, transcripts: dict[str, str]) -> None:
    from seqlab.evaluation import compare

    command = ("evaluate", transcripts["hyp"], "--ref", transcripts["ref"], "--baseline", transcripts["base"])
    more = ("--interval", "--worst", "1", "--by", transcripts["speaker"])
    options = ("--metrics", "wer", "cer", "--normalize", "plain", *more)
    found = json.loads(seqlab(*command, *options, "--json").out)
    references, hypotheses, baseline = (
        [normalize_plain(line) for line in lines]
        for lines in (TRANSCRIPT_REFERENCES, TRANSCRIPT_HYPOTHESES, TRANSCRIPT_BASELINE)
    )
    for name, expected in compare(hypotheses, baseline, [references], ["wer", "cer"]).items():
        for key in ("difference", "p_value", "interval"):
            assert found[name][key] == expected.as_dict()[key]
        for system, lines in (("system", hypotheses), ("baseline", baseline)):
            rate = {"wer": jiwer.wer, "cer": jiwer.cer}[name](references, lines)
            assert found[name][system]["value"] == pytest.approx(100 * rate)
            low, high = found[name][system]["interval"]
            assert low <= found[name][system]["value"] <= high
            assert found[name][system]["by"]["total"]["value"] == found[name][system]["value"]
        assert len(found[name]["system"]["worst"]) == 1
    printed = seqlab(*command, *options).out.decode()
    assert f"baseline: by {transcripts['speaker']}" in printed
    assert f"system:   by {transcripts['speaker']}" in printed


def test_invalid_options_for_transcripts_are_reported(seqlab, transcripts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "short").write_text("anna\n")
    command = ("evaluate", transcripts["hyp"], "--ref", transcripts["ref"])
    for arguments, message in (
        (("--worst", "0"), "`--worst` must be at least 1, but is 0"),
        (("--normalize", "upper"), "`--normalize` must be 'none', 'lower' or 'plain', but is 'upper'"),
        (("--metrics", "bleu", "--worst", "3"), "--worst needs an error rate: name wer or cer with --metrics"),
        (("--metrics", "bleu", "--normalize", "plain"), "--normalize needs an error rate: name wer or cer"),
        (("--by", tmp_path / "short"), f"hyp has 5 lines but {tmp_path}/short has 1"),
        (("--by", f"{tmp_path}/test.jsonl#age"), "test.jsonl, line 1: has no 'age'"),
        (("--by", "-", "--baseline", "-"), "standard input (`-`) can be read only once"),
    ):
        result = seqlab(*command, *arguments)
        assert (result.status, result.out) == (2, b"")
        assert message in result.err
        assert result.err.count("\n") == 1
