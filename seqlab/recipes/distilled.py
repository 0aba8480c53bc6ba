"""Runs that learn what another run says: its translations are their targets, its weights are where they begin.

A translator's answers differ less among each other than those of many people, which helps most where all symbols are
predicted at once (Zhou et al. 2020). Models of one size have the same encoder, and layers of the same names in their
decoders.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqlab.data.config import ParallelConfig
from seqlab.runs.config import Config


def taught_by(
    recipe: Callable[[Path], Config],
    run_dir: Path,
    tgt: str,
    batch_tokens: int | None = None,
    search: str = "",
    **sections: Any,
) -> Config:
    """Give a recipe's config with other `sections`, on what `runs/RECIPE` said; validation keeps its references.

    Args:
        recipe: the teacher's.
        run_dir: the student's run folder.
        tgt: the ending of the file of translations, `runs/RECIPE/distilled.TGT`.
        batch_tokens: target tokens of a step, where they are not the teacher's.
        search: options of the search that makes them, where its own are not the best to learn from.
        sections: of the config: model, objective, optim, training.

    Raises:
        FileNotFoundError: there are no translations; the message says how they are made.
    """
    config, teacher = recipe(run_dir), Path("runs") / recipe.__name__
    translations = teacher / f"distilled.{tgt}"
    assert isinstance(config.data, ParallelConfig)
    if not translations.exists():
        [src], [ref] = config.data.train_src, config.data.train_tgt
        distill = f"seqlab distill {teacher} --src {src} --ref {ref} --out {translations} {search}".rstrip()
        raise FileNotFoundError(
            f"There is no {translations} in this folder, what a teacher says: make it with `seqlab train "
            f"{recipe.__name__}` and `{distill}`."
        )
    batch_tokens = batch_tokens or config.data.batch_tokens
    data = replace(config.data, train_tgt=[str(translations)], batch_tokens=batch_tokens)
    return replace(config, data=data, init_from=str(teacher), init_parts="matching", **sections)
