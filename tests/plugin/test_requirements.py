"""A model that lacks what will be called of it is refused before the first step."""

from pathlib import Path

from .conftest import HERE, TABLE, run_all

LACKING = '''
"""Translators that lack something."""

from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

import seqlab
from seqlab.models.config import SETTINGS
from seqlab_outside.convolutional import ConvolutionalConfig, ConvolutionalTranslator


def lacking(name: str, methods: tuple[str, ...], **of_config: str) -> None:
    class Lacking(ConvolutionalTranslator):
        def __getattribute__(self, name: str) -> Any:
            if name in methods:
                raise AttributeError(name)
            return super().__getattribute__(name)

    Lacking.__name__ = f"Without{name.title()}"

    @seqlab.register("model", name)
    @dataclass(frozen=True, kw_only=True, config=SETTINGS)
    class LackingConfig(ConvolutionalConfig):
        """A translator that lacks something."""

        family: Literal[name] = name
        outputs: ClassVar[str] = of_config.get("outputs", "tokens")

        def build(self, src: Any, tgt: Any) -> Lacking:
            return Lacking(self, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id)


lacking("stepless", ("start", "step"))
lacking("scoreless", ("score",))
lacking("vectorless", ("embeddings",))
lacking("frames", ("nothing",), outputs="frames")
'''


def test_what_is_missing_is_named(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "lacking.py").write_text(LACKING, "utf-8")
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
            "its validation needs the methods of the protocol `Scorer` (`seqlab.models.interfaces`), but",
        ),
        (
            ["--model.family", "frames", "--objective.family", "ctc"],
            "`objective.family: ctc` needs the methods of the protocol `FrameModel` (`seqlab.models.interfaces`), but "
            "WithoutFrames lacks blank_id, forward(glance), frames, score_sequences.",
        ),
        (
            ["--objective.family", "scheduled_sampling"],
            "`model.family: convolutional` cannot be trained: `objective.family: scheduled_sampling` needs the "
            "methods of the protocol `MixingDecoder` (`seqlab.models.interfaces`), but "
            "ConvolutionalTranslator lacks forward(mixing).",
        ),
    ]
    run, plugins = tmp_path / "run", [*TABLE, "--plugin", tmp_path / "lacking.py"]
    commands = [["train", config_file, "--run_dir", run, *options, *plugins] for options, _ in cases]
    for done, (_, said) in zip(run_all(commands, path=[HERE]), cases, strict=True):
        assert done.status == 2, done.err
        assert said in done.err
        assert "step 3 " not in done.err
    assert not run.exists()
