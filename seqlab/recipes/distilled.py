"""Runs that learn what another run says: its translations are their targets, its weights are where they begin.

A translator's answers differ less among each other than those of many people, which helps most where all symbols are
predicted at once (Zhou et al. 2020). They are not bound to the sources of a corpus, either: what a language model makes
up can be translated, too (Zhou & Keung 2020, who take other text of one language). Models of one size have the same
encoder, and layers of the same names in their decoders.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqlab.runs.config import Config
from seqlab.tasks.translation.config import TranslationConfig

Recipe = Callable[[str | Path], Config]


@dataclass(frozen=True)
class MadeUp:
    """Sources that a language model makes up."""

    lm_recipe: Recipe
    """Of the language model."""
    src: str
    """The ending of their file, `made_up.SRC` in the teacher's run folder."""
    lines: int
    """How many are drawn."""


def taught_by(
    recipe: Recipe,
    run_dir: str | Path,
    tgt: str,
    batch_tokens: int | None = None,
    search: str = "",
    made_up: MadeUp | None = None,
    **sections: Any,
) -> Config:
    """Give a recipe's config with other `sections`, on what `runs/RECIPE` said; validation keeps its references.

    Args:
        recipe: the teacher's.
        run_dir: the student's run folder.
        tgt: the ending of the file of translations, `runs/RECIPE/distilled.TGT`.
        batch_tokens: target tokens of a step, where they are not the teacher's.
        search: options of the search that makes them, where its own are not the best to learn from.
        made_up: further sources, whose translations are `runs/RECIPE/made_up.TGT`.
        sections: of the config: model, objective, optim, training.

    Raises:
        FileNotFoundError: there are no translations, or no sources; the message says how they are made.
    """
    config, teacher = recipe(run_dir), Path("runs") / recipe.__name__
    assert isinstance(config.data, TranslationConfig)
    [src], [ref] = config.data.train_src, config.data.train_tgt

    def distill(src: str, out: str, more: str = "") -> str:
        return f"seqlab distill {teacher} --src {src}{more} --out {out} {search}".rstrip()

    said = [str(teacher / f"distilled.{tgt}")]
    sources, commands = [src], [f"seqlab train {recipe.__name__}", distill(src, said[0], f" --ref {ref}")]
    if made_up is not None:
        sources.append(str(teacher / f"made_up.{made_up.src}"))
        said.append(str(teacher / f"made_up.{tgt}"))
        lm = made_up.lm_recipe.__name__
        commands += [
            f"seqlab train {lm}",
            f"seqlab generate {Path('runs') / lm} --num_samples {made_up.lines} --output {sources[1]}",
            distill(sources[1], said[1]),
        ]
    for path in (*said, *sources[1:]):
        if not Path(path).exists():
            raise FileNotFoundError(
                f"There is no {path} in this folder, which students learn from. Make it in this order, but for what is "
                f"there: {', '.join(f'`{command}`' for command in commands)}."
            )
    batch_tokens = batch_tokens or config.data.batch_tokens
    data = replace(config.data, train_src=sources, train_tgt=said, batch_tokens=batch_tokens)
    return replace(config, data=data, init_from=str(teacher), init_parts="matching", **sections)
