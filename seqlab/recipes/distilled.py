"""Sequence-level knowledge distillation: train a student on a teacher's translations, starting from its weights.

A teacher's translations vary less than those of human translators, which helps non-autoregressive models most (Zhou et
al. 2020). The sources need not be those of the corpus: a language model can generate more (cf. Zhou & Keung 2020, who
use monolingual text). A student of the teacher's size has the same encoder, and decoder layers with the same names.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqlab.runs.config import Config
from seqlab.tasks.translation.config import TranslationConfig

Recipe = Callable[[str | Path], Config]


@dataclass(frozen=True)
class GeneratedSources:
    """Sources that a language model generates."""

    lm_recipe: Recipe
    """Recipe of the language model."""
    src: str
    """Ending of their file, `made_up.SRC` in the teacher's run folder."""
    lines: int
    """Number of sources."""


def distilled_config(
    recipe: Recipe,
    run_dir: str | Path,
    tgt: str,
    batch_tokens: int | None = None,
    search: str = "",
    generated: GeneratedSources | None = None,
    **sections: Any,
) -> Config:
    """Build the config of a student: that of the teacher with other sections and the teacher's translations as targets.

    Validation uses the teacher's references.

    Args:
        recipe: recipe of the teacher, whose run folder is `runs/RECIPE`.
        run_dir: the student's run folder.
        tgt: ending of the file of translations, `runs/RECIPE/distilled.TGT`.
        batch_tokens: target tokens per step; None is as for the teacher.
        search: search options of `seqlab distill`.
        generated: additional sources, whose translations are in `runs/RECIPE/made_up.TGT`.
        sections: sections of the config to replace: model, objective, optim, training.

    Raises:
        FileNotFoundError: translations or generated sources are missing; the message has the commands that make them.
    """
    config, teacher = recipe(run_dir), Path("runs") / recipe.__name__
    assert isinstance(config.data, TranslationConfig)
    [src], [ref] = config.data.train_src, config.data.train_tgt

    def distill(src: str, out: str, more: str = "") -> str:
        return f"seqlab distill {teacher} --src {src}{more} --out {out} {search}".rstrip()

    translations = [str(teacher / f"distilled.{tgt}")]
    sources, commands = [src], [f"seqlab train {recipe.__name__}", distill(src, translations[0], f" --ref {ref}")]
    if generated is not None:
        sources.append(str(teacher / f"made_up.{generated.src}"))
        translations.append(str(teacher / f"made_up.{tgt}"))
        lm = generated.lm_recipe.__name__
        commands += [
            f"seqlab train {lm}",
            f"seqlab generate {Path('runs') / lm} --num_samples {generated.lines} --output {sources[1]}",
            distill(sources[1], translations[1]),
        ]
    for path in (*translations, *sources[1:]):
        if not Path(path).exists():
            raise FileNotFoundError(
                f"The training data {path} are missing. Run these commands in this folder, except those whose outputs "
                f"exist: {', '.join(f'`{command}`' for command in commands)}."
            )
    batch_tokens = batch_tokens or config.data.batch_tokens
    data = replace(config.data, train_src=sources, train_tgt=translations, batch_tokens=batch_tokens)
    return replace(config, data=data, init_from=str(teacher), init_parts="matching", **sections)
