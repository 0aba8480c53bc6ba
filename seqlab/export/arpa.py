"""N-gram models to and from ARPA files, the format of KenLM, SRILM and speech recognisers."""

import logging
import sys
from pathlib import Path

import torch

import seqlab
from seqlab.base.parsing import require_regular
from seqlab.export.folder import building
from seqlab.models import NgramConfig, NgramModel
from seqlab.models.arpa import read_arpa, read_words, write_arpa
from seqlab.runs.checkpoint import WEIGHTS, write_checkpoint
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import Config, write_config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run, named_weights
from seqlab.tasks.language_modelling.config import LANGUAGE_MODEL, LanguageModellingConfig
from seqlab.tasks.language_modelling.language_model import text_config
from seqlab.text import SavedConfig, Tokenizer, WordsConfig, tokenizer_sha256, train_tokenizer

logger = logging.getLogger(__name__)

SUBWORD_SHARE = 0.05
"""Share of words with `▁` in front from which on they are subwords: of 500 for Multi30k, bytes counted, a fifth are."""
TOLERANCE = 1e-6
"""Largest difference in nats of what is written and read back: a file has nine digits."""


def export_arpa(
    run: str | Path, out: str | Path | None = None, *, checkpoint: str = "best", overwrite: bool = False
) -> Path:
    """Write the n-gram model of a run as an ARPA file, read it back to check it, and give its path.

    Args:
        run: a run folder.
        out: the file to write, packed when its name ends in .gz; `RUN/export/model.arpa` unless given.
        checkpoint: as in `load_run`.
        overwrite: replace a file that is there.

    Raises:
        FileExistsError: the file is there already.
        ValueError: the model is no n-gram model; what is read back is not what was written (nothing is left then).
    """
    member = load_run(run, checkpoint, product=LANGUAGE_MODEL)
    if not isinstance(member.model, NgramModel):
        raise ValueError(
            f"{run} holds a `{member.config.model.family}`: only what `model.family: ngram_lm` counts can be listed in "
            "an ARPA file."
        )
    if text_config(member).is_continuous:
        logger.warning("%s read its text as one: other programs begin each line at <s>, which it has never seen", run)
    final = member.folder.path / "export" / "model.arpa" if out is None else Path(out)
    if final.exists() and not overwrite:
        raise FileExistsError(f"{final} is there already: choose another `--out`, or add `--overwrite`.")
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".unchecked.{final.name}")
    try:
        names = names_of(member.tgt_tokenizer)
        write_arpa(member.model, names, temporary)
        _check(_read(temporary, names, member.tgt_tokenizer), member.model, final)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    return final


def import_arpa(
    file: str | Path, run_dir: str | Path, *, tokenizer_of: str | Path | None = None, overwrite: bool = False
) -> Path:
    """Make a run folder of an ARPA file, for every command that takes a language model of lines; give its path.

    Args:
        file: the ARPA file, packed where its name ends in .gz.
        run_dir: the run folder to make.
        tokenizer_of: a run whose target tokenizer names the words of the file, as with an n-gram model of its subwords;
            words between spaces, those of the file, unless given.
        overwrite: replace a folder that is there.

    Raises:
        FileNotFoundError, FileExistsError: there is no such file; something is where the folder is to be.
        ValueError: the file is damaged.
    """
    file, final = Path(file), Path(run_dir)
    if not file.exists():
        raise FileNotFoundError(f"There is no file {file}.")
    require_regular(file)  # it is read twice
    if final.exists() and not (overwrite and RunFolder(final).exists()):
        advice = "add `--overwrite` to replace it, or " if RunFolder(final).exists() else ""
        raise FileExistsError(f"{final} is there already: {advice}choose another `--run_dir`.")
    if tokenizer_of is None:
        settings: WordsConfig | SavedConfig = WordsConfig(normalization="none")
        words = read_words(file)
        if " " in words or sum(word.startswith("▁") for word in words) > SUBWORD_SHARE * len(words):
            raise ValueError(
                f"{file} is a model of characters or subwords, as it has a space or `▁` for one among its words: name "
                "a run that has the same ones with `--tokenizer`."
            )
        tokenizer = train_tokenizer(settings, words)
    else:
        folder = RunFolder(Path(tokenizer_of))
        if not folder.exists():
            raise FileNotFoundError(f"There is no run {tokenizer_of}, which is to name the words of {file}.")
        settings, (_, tokenizer) = SavedConfig(folder=str(folder.tokenizer("tgt"))), load_tokenizers(folder)
    model = _read(file, names_of(tokenizer), tokenizer)
    data = LanguageModellingConfig(train=[str(file)], documents="lines", tokenizer=settings)
    with building(final) as made:
        run = RunFolder(made)
        tokenizer.save(run.path / "tokenizer")
        write_config(Config(data=data, model=NgramConfig(order=len(model.trie))), run.config_file)
        run.checkpoints.mkdir()
        write_checkpoint(run.checkpoints, 1, {WEIGHTS: named_weights(model)}, {"best": [[0.0, 1]]})
        run.write_description(
            {
                "seqlab_version": seqlab.__version__,
                "command": sys.argv,
                "tokenizer_sha256": {"tgt": tokenizer_sha256(run.tokenizer("tgt"))},
            }
        )
    for length, level in enumerate(model.trie, start=1):
        logger.info("%d-grams: %s", length, f"{len(level.keys):,}")
    return final


def names_of(tokenizer: Tokenizer) -> list[str]:
    """Name each id as a text that is cut into tokens has it: subwords with `▁` for a space, and else what they are."""
    ids = range(tokenizer.vocab_size)
    names = tokenizer.tokens(ids)
    if tokenizer.has_unknown:  # characters or words
        first = tokenizer.unk_id + 1  # behind the special ones
        names[first:] = tokenizer.decode([[each] for each in ids[first:]])
    return names


def _read(path: Path, names: list[str], tokenizer: Tokenizer) -> NgramModel:
    return read_arpa(path, names, pad_id=tokenizer.pad_id, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id)


def _check(found: NgramModel, model: NgramModel, final: Path) -> None:
    """Raise ValueError where a model is not the one that was written."""
    for length, (own, level) in enumerate(zip(found.trie, model.trie, strict=True), start=1):
        for name in ("keys", "log_probs", "backoffs"):
            one, other = getattr(own, name), getattr(level, name)
            if not torch.allclose(one.double(), other.double(), rtol=0, atol=TOLERANCE):
                raise ValueError(f"{final} was not written, as its {length}-grams read back with other `{name}`.")
