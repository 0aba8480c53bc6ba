"""The base of `data` sections of text without a second side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import MAX_COUNT, Count, CountOrZero
from seqlab.data.config import SETTINGS, PathSpecs, TokensConfig
from seqlab.registry import default_part
from seqlab.text import Tokenizer, TokenizerConfig

if TYPE_CHECKING:
    from seqlab.data.corpus import Corpus
    from seqlab.data.held_out import HeldOut
    from seqlab.data.row_encoder import RowEncoder
    from seqlab.data.survey import Survey


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TextConfig(TokensConfig):
    """Text without a second side: the fields of each task on it."""

    num_sides: ClassVar[int] = 1
    path_fields: ClassVar[tuple[str, ...]] = ("train", "valid")
    split_fields: ClassVar[tuple[str, ...]] = ("valid_fraction", "documents")
    keeps_valid_text: ClassVar[bool] = False

    train: Annotated[PathSpecs, Field(min_length=1)]
    """Training corpora: `file` (text, plain or .gz), `file#column` (.tsv, .jsonl, .csv, .json, .parquet, .arrow), or a
    column of a dataset that `datasets` loads by its name on the Hugging Face hub or by the path of a folder,
    `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`, such as `hub:Salesforce/wikitext:wikitext-2-v1:train#text`."""

    valid: PathSpecs = Field(default_factory=list)
    """Validation corpora; when left out, a part of the training corpora is split off."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the lines that is split off for validation where there is no validation corpus: the last ones of a
    continuous text, and of single lines those of some sources, so that no copy of one stays behind."""

    documents: Literal["lines", "continuous"] = "lines"
    """What the model sees as one: each line by itself, which begins with bos and ends with eos, or all lines of the
    corpora as one text, in which eos stands for the end of a line. A record of a table is a line; one that has newlines
    is several in a continuous text, and otherwise they become spaces."""

    tokenizer: TokenizerConfig = Field(default_factory=lambda: default_part("tokenizer")())
    """How text becomes ids."""

    block_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 256
    """Tokens that are seen together: a longer line, and a continuous text, is cut into blocks of this many, a shorter
    text is one shorter block. With `order: contiguous` the time steps that gradients flow back through."""

    order: Literal["shuffled", "contiguous"] = "shuffled"
    """How a continuous text is read: blocks in random order, or in the order of the text, as many at a time as fit into
    a step, each with the state that the block before it left behind (truncated backpropagation through time; for
    recurrent models)."""

    vary_block_length: bool = False
    """With `order: contiguous`, whether each step draws a length of its own, so that gradients are not always cut off
    at the same places: about `block_length`, in one step of twenty half of it, normally distributed around that with a
    standard deviation of 5, and 5 at least. The learning rate of the step is multiplied by its length over
    `block_length` (Merity et al. 2018)."""

    mask_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the tokens that a masked model is to fill in, from what stands on both sides of them: 0.15 in BERT
    (Devlin et al. 2019). 0 is for models that predict every token from those before it."""

    vectors: str | None = None
    """File of word vectors that the embeddings start from, as word2vec or GloVe write it, text or binary, plain or .gz;
    they are scaled to the size of the random start, which tokens without a vector keep."""

    packing: bool = False
    """Whether lines are concatenated into rows of `block_length`, none of which sees another, instead of
    being padded to the longest of their micro-step: for lines of very different lengths."""

    batch_tokens: Count = 8192
    """Predicted tokens per step, of masked text those that are read, over all ranks: the average, as steps are whole
    blocks or lines."""

    micro_batch_tokens: Count = 4096
    """Padded tokens per micro-step at most; a longer block is one of its own. Memory and speed depend on it."""

    chunk_lines: Count = 131_072
    """Lines shuffled, sorted by length and cut into steps together: memory grows with it."""

    prefetch_steps: CountOrZero = 8
    """Steps prepared ahead in a background thread; 0 prepares each when it is asked for."""

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """How text becomes ids."""
        return self.tokenizer, self.tokenizer

    @property
    def is_continuous(self) -> bool:
        """Whether all lines are one text, in which empty ones count."""
        return self.documents == "continuous"

    def corpora(self, split: str) -> list[Corpus]:
        """Give the corpora of a split."""
        from seqlab.data.corpus import Corpus

        specs = {"train": self.train, "valid": self.valid}.get(split, [])
        return [Corpus.from_specs(spec, split_records=self.is_continuous, limit=self.line_limit) for spec in specs]

    def hold_out(self, train: Sequence[Survey]) -> HeldOut:
        """Hold out the end of a continuous text, and otherwise some lines."""
        from seqlab.data.held_out import HeldOutEnd, HeldOutSources

        if self.is_continuous:
            return HeldOutEnd(self.valid_fraction)
        return HeldOutSources.choose(train, self.valid_fraction, advice="`data.valid`")

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> RowEncoder:
        """Return what encodes blocks of lines."""
        from seqlab.data.row_encoder import RowEncoder

        return RowEncoder(tokenizers[-1:])

    @property
    def tokenizer_folders(self) -> list[str]:
        """Name the folder of a run that holds its tokenizer."""
        return ["tokenizer"]

    def requested_sizes(self) -> dict[str, int | None]:
        """Return the size that each vocabulary is to have, by the folder of its tokenizer; None for no limit."""
        return {"tokenizer": self.tokenizer.requested_size}

    def vector_files(self) -> dict[str, str]:
        """Return the file of word vectors, under `tgt`, the only side."""
        return {} if self.vectors is None else {"tgt": self.vectors}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.order == "contiguous" and self.documents != "continuous":
            raise ValueError(
                "`order: contiguous` carries a model's state through a text, but with `documents: lines` each line is "
                "a text of its own: set `documents: continuous` or `order: shuffled`."
            )
        if self.vary_block_length and self.order != "contiguous":
            raise ValueError("`vary_block_length` is for `order: contiguous`: set that, or leave it out.")
        if self.packing and self.documents != "lines":
            raise ValueError("`packing` is for `documents: lines`: a continuous text has no lines to pack.")
        if self.mask_share and (self.packing or self.order == "contiguous"):
            name = "packing: true" if self.packing else "order: contiguous"
            raise ValueError(f"`{name}` is for text that is read from left to right: with `mask_share` leave it out.")
        return self
