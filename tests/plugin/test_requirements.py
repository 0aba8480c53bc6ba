"""Models that lack a required method are refused before the first step."""

from pathlib import Path

from .conftest import PLUGIN_OPTION, PLUGIN_PATH, run_commands

PLUGIN = '''
"""Translators that lack methods."""

from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

import seqlab
from seqlab.models.config import SETTINGS
from seqlab_outside.convolutional import ConvolutionalConfig, ConvolutionalTranslator


def register_without(name: str, methods: tuple[str, ...], outputs: str = "tokens") -> None:
    class IncompleteTranslator(ConvolutionalTranslator):
        def __getattribute__(self, name: str) -> Any:
            if name in methods:
                raise AttributeError(name)
            return super().__getattribute__(name)

    IncompleteTranslator.__name__ = f"Without{name.title()}"
    model_outputs = outputs

    @seqlab.register("model", name)
    @dataclass(frozen=True, kw_only=True, config=SETTINGS)
    class IncompleteConfig(ConvolutionalConfig):
        """A translator that lacks methods."""

        family: Literal[name] = name
        outputs: ClassVar[str] = model_outputs

        def build(self, src: Any, tgt: Any) -> IncompleteTranslator:
            return IncompleteTranslator(self, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id)


register_without("stepless", ("start", "step"))
register_without("scoreless", ("score",))
register_without("vectorless", ("embeddings",))
register_without("frames", (), outputs="frames")
'''


def test_error_names_the_missing_methods(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "incomplete.py").write_text(PLUGIN, "utf-8")
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("one " + " ".join(["0.5"] * 256) + "\n", "utf-8")
    cases = [
        (["--model.family", "stepless"], "as a `Stepper` it lacks start, step."),
        (
            ["--model.family", "vectorless", "--data.vectors_src", vectors],
            "starting from word vectors needs the methods of the protocol `EmbeddingModel`",
        ),
        (
            ["--model.family", "scoreless"],
            "its validation needs the methods of the protocol `Scorer` (`seqlab.inference.scorer`), but",
        ),
        (
            ["--model.family", "frames", "--objective.family", "ctc"],
            "`objective.family: ctc` needs the methods of the protocol `FrameModel` (`seqlab.search.protocols`), but "
            "WithoutFrames lacks blank_id, forward(glance), frames, score_sequences.",
        ),
        (
            ["--objective.family", "scheduled_sampling"],
            "`model.family: convolutional` cannot be trained: `objective.family: scheduled_sampling` needs the "
            "methods of the protocol `MixingDecoder` (`seqlab.objectives.scheduled_sampling`), but "
            "ConvolutionalTranslator lacks forward(mixing).",
        ),
    ]
    words = ["--data.tokenizer.kind", "words", "--data.subword_sampling", "0"]  # faster than subwords
    run, plugins = tmp_path / "run", [*PLUGIN_OPTION, "--plugin", tmp_path / "incomplete.py"]
    commands = [["train", config_file, "--run_dir", run, *words, *options, *plugins] for options, _ in cases]
    for done, (_, message) in zip(run_commands(commands, path=[PLUGIN_PATH]), cases, strict=True):
        assert done.status == 2, done.err
        assert message in done.err
        assert "step 3 " not in done.err
    assert not run.exists()
