"""CTC translators: prefixes, n-best lists and unsupported options."""

import pytest
from reference.random_runs import write_run

import seqlab
from seqlab.models import TransformerCtcConfig
from seqlab.tasks.translation.run import Run

LINES = ["abc", "", "d", "fed cba", "jihgfedcba abc", "e f", "hij ihg", "a a a a a"]
SIZES = {"d_model": 16, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "upsampling": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("frames") / "run"
    return seqlab.load(write_run(folder, model=TransformerCtcConfig(**SIZES)), precision="fp32")


@pytest.mark.parametrize("beam_size", [1, 3])
def test_an_empty_prefix_changes_nothing(run: Run, beam_size: int) -> None:
    expected = run.translate(LINES, beam_size=beam_size)
    assert run.translate(LINES, beam_size=beam_size, prefixes=[""] * len(LINES)) == expected
    prefixes = ["", "", "", "kl", "", "", "n", ""]
    found = run.translate(LINES, beam_size=beam_size, prefixes=prefixes)
    for prefix, text, without_prefix in zip(prefixes, found, expected, strict=True):
        assert text.startswith(prefix) if prefix else text == without_prefix


def test_prefixes_longer_than_the_frames_are_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="line 5: its prefix has 5 tokens, more than the model can output"):
        run.translate(["a", "b"], prefixes=["", "klmno"], locations=["line 4", "line 5"], max_length_offset=20)


def test_unsupported_options_are_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="`coverage_penalty` is for models that attend to a source for each token"):
        run.translate(LINES, coverage_penalty=0.2)
    with pytest.raises(ValueError, match="its attention belongs to frames"):
        run.translate_detailed(LINES, need_attention=True)


def test_n_best_lists_are_sorted(run: Run) -> None:
    for translation in run.translate_detailed(LINES, beam_size=5, num_hypotheses=5):
        scores = [each.score for each in translation.hypotheses]
        assert scores == sorted(scores, reverse=True)
