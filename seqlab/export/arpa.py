"""Export n-gram models to ARPA files and import them: the format of KenLM, SRILM and speech recognizers."""

import logging
import sys
from pathlib import Path

import torch

import seqlab
from seqlab.base.parsing import require_regular
from seqlab.export.export_folder import atomic_folder
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

MIN_SUBWORD_SHARE = 0.05
"""A vocabulary consists of subwords if at least this share of its entries begin with `▁`. For example, the share is a
fifth in a vocabulary of 500 subwords and bytes for Multi30k."""
ARPA_TOLERANCE = 1e-6
"""Maximum difference in nats between the model and the file, whose numbers have nine digits."""


def export_arpa(
    run: str | Path, out: str | Path | None = None, *, checkpoint: str = "best", overwrite: bool = False
) -> Path:
    """Export the n-gram model of a run to an ARPA file, and verify the file by reading it; return its path.

    Args:
        run: a run folder.
        out: the file to write, compressed if its name ends in .gz; `RUN/export/model.arpa` by default.
        checkpoint: as in `load_run`.
        overwrite: replace an existing file.

    Raises:
        FileExistsError: the file exists already.
        ValueError: the model is not an n-gram model; the file read back differs from the model (it is deleted).
    """
    loaded = load_run(run, checkpoint, model_noun=LANGUAGE_MODEL)
    if not isinstance(loaded.model, NgramModel):
        raise ValueError(
            f"{run} has `model.family: {loaded.config.model.family}`: only models of the family `ngram_lm` "
            "can be written to an ARPA file."
        )
    if text_config(loaded).is_continuous:
        logger.warning(
            "%s was trained on continuous text, without <s>, but other programs start each line with <s>, a "
            "token that the model was not trained on",
            run,
        )
    final = loaded.folder.path / "export" / "model.arpa" if out is None else Path(out)
    if final.exists() and not overwrite:
        raise FileExistsError(f"{final} exists already: choose another `--out`, or add `--overwrite`.")
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".unchecked.{final.name}")
    try:
        names = arpa_words(loaded.tgt_tokenizer)
        write_arpa(loaded.model, names, temporary)
        _check_equal(_read(temporary, names, loaded.tgt_tokenizer), loaded.model, final)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    return final


def import_arpa(
    file: str | Path, run_dir: str | Path, *, tokenizer_of: str | Path | None = None, overwrite: bool = False
) -> Path:
    """Import an ARPA file as a run folder that commands can use as a language model; return its path.

    Args:
        file: the ARPA file, compressed if its name ends in .gz.
        run_dir: the run folder to create.
        tokenizer_of: a run whose target tokenizer is used, for n-gram models of subwords or characters. Its tokens
            must be the words of the file. By default the tokens are the words of the file, separated by spaces.
        overwrite: replace an existing run folder.

    Raises:
        FileNotFoundError: there is no such file, or no run `tokenizer_of`.
        FileExistsError: `run_dir` exists already.
        ValueError: the file is damaged.
    """
    file, final = Path(file), Path(run_dir)
    if not file.exists():
        raise FileNotFoundError(f"There is no file {file}.")
    require_regular(file)  # it is read twice
    if final.exists() and not (overwrite and RunFolder(final).exists()):
        advice = "add `--overwrite` to replace it, or " if RunFolder(final).exists() else ""
        raise FileExistsError(f"{final} exists already: {advice}choose another `--run_dir`.")
    settings, tokenizer = _tokenizer_of_words(file) if tokenizer_of is None else _saved_tokenizer(tokenizer_of, file)
    model = _read(file, arpa_words(tokenizer), tokenizer)
    data = LanguageModellingConfig(train=[str(file)], documents="lines", tokenizer=settings)
    with atomic_folder(final) as new_folder:
        run = RunFolder(new_folder)
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


def _tokenizer_of_words(file: Path) -> tuple[WordsConfig, Tokenizer]:
    """Create a tokenizer of the words in an ARPA file; raises ValueError if these are subwords or characters."""
    words = read_words(file)
    # Other files are read like text, so that they can share the vocabulary of a translator.
    settings = WordsConfig(normalization="none", unicode_spaces=all(word.split() == [word] for word in words))
    if " " in words or sum(word.startswith("▁") for word in words) > MIN_SUBWORD_SHARE * len(words):
        raise ValueError(
            f"{file} is a model of characters or subwords, since some of its words contain a space or `▁`: add "
            "`--tokenizer RUN` for a run with the same tokens."
        )
    return settings, train_tokenizer(settings, words)


def _saved_tokenizer(tokenizer_of: str | Path, file: Path) -> tuple[SavedConfig, Tokenizer]:
    """Load the target tokenizer of a run; raises FileNotFoundError if there is no such run."""
    folder = RunFolder(Path(tokenizer_of))
    if not folder.exists():
        raise FileNotFoundError(f"There is no run {tokenizer_of} with a tokenizer for the words of {file}.")
    return SavedConfig(folder=str(folder.tokenizer("tgt"))), load_tokenizers(folder)[1]


def arpa_words(tokenizer: Tokenizer) -> list[str]:
    """Return the word of each id in an ARPA file: subwords with `▁` for a space; words and characters unchanged."""
    ids = range(tokenizer.vocab_size)
    words = tokenizer.tokens(ids)
    if tokenizer.has_unknown:  # characters or words
        first = tokenizer.unk_id + 1  # after the special tokens
        words[first:] = tokenizer.decode([[token_id] for token_id in ids[first:]])
    return words


def _read(path: Path, names: list[str], tokenizer: Tokenizer) -> NgramModel:
    return read_arpa(path, names, pad_id=tokenizer.pad_id, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id)


def _check_equal(read_back: NgramModel, model: NgramModel, final: Path) -> None:
    """Raise ValueError if the model that was read back differs from the one that was written."""
    for length, (read_level, level) in enumerate(zip(read_back.trie, model.trie, strict=True), start=1):
        for name in ("keys", "log_probs", "backoffs"):
            actual, expected = getattr(read_level, name), getattr(level, name)
            if not torch.allclose(actual.double(), expected.double(), rtol=0, atol=ARPA_TOLERANCE):
                raise ValueError(
                    f"{final} was not written: after reading it back, the `{name}` of its {length}-grams differ "
                    "from those of the model."
                )
