"""Base class of `data` sections of monolingual text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from seqlab.base.bounds import MAX_COUNT, Count, CountOrZero
from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS, PathSpecs, TokensConfig
from seqlab.registry import default_part
from seqlab.text import Tokenizer, TokenizerConfig
from seqlab.text.transcripts import TranscriptForm

if TYPE_CHECKING:
    from seqlab.data.batch import TextLayout
    from seqlab.data.corpus import Corpus
    from seqlab.data.held_out import HeldOut
    from seqlab.data.row_encoder import RowEncoder
    from seqlab.data.survey import Survey


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class TextConfig(TokensConfig):
    """Base class of sections of monolingual text."""

    num_sides: ClassVar[int] = 1
    path_fields: ClassVar[tuple[str, ...]] = ("train", "valid")
    split_fields: ClassVar[tuple[str, ...]] = ("valid_fraction", "documents")
    encoding_fields: ClassVar[tuple[str, ...]] = ("transcripts",)
    keeps_valid_text: ClassVar[bool] = False

    train: Annotated[PathSpecs, Field(min_length=1)]
    """Training corpora: `file` (text, also packed), `file#column` (.tsv, .jsonl, .csv, .json, .parquet, .arrow), or a
    column of a dataset that `datasets` loads by its name on the Hugging Face hub or by the path of a folder,
    `hub:NAME[@REVISION][:CONFIG]:SPLIT#COLUMN`, such as `hub:Salesforce/wikitext:wikitext-2-v1:train#text`."""

    valid: PathSpecs = Field(default_factory=list)
    """Validation corpora; by default, lines are held out of the training corpora."""

    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the lines that is held out for validation if `valid` is not given: the last lines of a continuous text;
    otherwise random lines, with all of their copies."""

    documents: Literal["lines", "continuous"] = "lines"
    """Unit of text: each line by itself, from bos to eos (`lines`); or all lines of the corpora as one continuous text,
    in which eos ends a line (`continuous`). A record of a table is a line. A record with newlines is several lines of a
    continuous text; with `lines`, its newlines become spaces."""

    tokenizer: TokenizerConfig = Field(default_factory=lambda: default_part("tokenizer")())
    """Tokenizer, which converts text to ids."""

    transcripts: TranscriptForm | None = None
    """Normalization of lines in the form of transcripts, for a language model of a speech recognizer: `plain`, `lower`
    or `none`, as its `data.transcripts`. The run normalizes texts that it scores in the same way. By default, lines are
    read as they are."""

    block_length: Annotated[int, Field(ge=2, le=MAX_COUNT)] = 256
    """Maximum tokens of a block: a longer line, and a continuous text, is split into blocks of this length. With
    `order: contiguous`, gradients flow back through this many time steps."""

    order: Literal["shuffled", "contiguous"] = "shuffled"
    """Order of the blocks of a continuous text: random (`shuffled`); or in text order (`contiguous`), in as many
    parallel streams as a step has blocks, with the hidden state carried from block to block (truncated backpropagation
    through time, for recurrent models)."""

    vary_block_length: bool = False
    """With `order: contiguous`, whether each step has a random block length, so that gradients are truncated at
    different positions (Merity et al. 2018). The length is normally distributed with a standard deviation of 5 and a
    minimum of 5. The mean is `block_length`, or in one step of twenty half of it. The learning rate of a step is
    multiplied by its length divided by `block_length`."""

    mask_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the tokens that a masked language model predicts from the tokens before and after them: 0.15 in BERT
    (Devlin et al. 2019). 0 is for autoregressive models."""

    vectors: str | None = None
    """File of word vectors that initialize the embeddings, in the format of word2vec or GloVe, text or binary, plain or
    .gz. They are scaled to the size of the random initialization, which tokens without a vector keep."""

    packing: bool = False
    """Whether lines are packed into rows of `block_length` tokens, without attention between lines, instead of padded
    to the longest line of their micro-step. It is for lines of very different lengths."""

    batch_tokens: Count = 8192
    """Mean number of predicted tokens per step over all ranks; for masked text, input tokens. Steps consist of complete
    blocks or lines."""

    micro_batch_tokens: Count = 4096
    """Maximum padded tokens per micro-step; a longer block is a micro-step by itself. Memory and speed depend on it."""

    chunk_lines: Count = 131_072
    """Number of lines that are shuffled, sorted by length and divided into steps together. Memory grows with it."""

    prefetch_steps: CountOrZero = 8
    """Number of steps prepared ahead in a background thread; 0 prepares each step on demand."""

    @property
    def tokenizers(self) -> tuple[TokenizerConfig, TokenizerConfig]:
        """Config of the tokenizer, for both sides."""
        return self.tokenizer, self.tokenizer

    @property
    def text_layout(self) -> TextLayout | None:
        """Layout that the model and the objective must support."""
        if self.packing:
            return "packed"
        return "contiguous" if self.order == "contiguous" else None

    @property
    def text_form(self) -> TranscriptForm | None:
        """Normalization of lines in the form of transcripts."""
        return self.transcripts

    @property
    def is_continuous(self) -> bool:
        """Whether all lines, including empty lines, form one continuous text."""
        return self.documents == "continuous"

    def corpora(self, split: str) -> list[Corpus]:
        """Return the corpora of a split."""
        from seqlab.data.corpus import Corpus

        specs = {"train": self.train, "valid": self.valid}.get(split, [])
        return [Corpus.from_specs(spec, split_records=self.is_continuous, limit=self.line_limit) for spec in specs]

    def hold_out(self, train: Sequence[Survey]) -> HeldOut:
        """Choose the validation lines: the end of a continuous text, otherwise some distinct lines."""
        from seqlab.data.held_out import HeldOutEnd, HeldOutSources

        if self.is_continuous:
            return HeldOutEnd(self.valid_fraction)
        return HeldOutSources.choose(train, self.valid_fraction, advice="`data.valid`")

    def encoder(self, tokenizers: Sequence[Tokenizer]) -> RowEncoder:
        """Return the encoder of blocks of lines."""
        from seqlab.data.row_encoder import RowEncoder

        return RowEncoder(tokenizers[-1:])

    @property
    def tokenizer_folders(self) -> list[str]:
        """Name of the folder of a run that holds its tokenizer."""
        return ["tokenizer"]

    def requested_sizes(self) -> dict[str, int | None]:
        """Return the configured size of the vocabulary, by the folder of its tokenizer; None for no limit."""
        return {"tokenizer": self.tokenizer.requested_size}

    def vector_files(self) -> dict[str, str]:
        """Return the file of word vectors under `tgt`, the only side."""
        return {} if self.vectors is None else {"tgt": self.vectors}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.order == "contiguous" and self.documents != "continuous":
            raise ValueError(
                "`order: contiguous` carries the state of a model through a text, but with `documents: lines` each "
                "line is a separate text: set `documents: continuous` or `order: shuffled`."
            )
        if self.vary_block_length and self.order != "contiguous":
            raise ValueError(
                "`vary_block_length` requires `order: contiguous`: set that, or remove `vary_block_length`."
            )
        if self.packing and self.documents != "lines":
            raise ValueError("`packing` requires `documents: lines`: a continuous text has no lines to pack.")
        if self.mask_share and (self.packing or self.order == "contiguous"):
            name = "packing: true" if self.packing else "order: contiguous"
            raise ValueError(f"`{name}` is for autoregressive models: remove it, or set `mask_share` to 0.")
        return self
