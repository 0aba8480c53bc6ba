"""PyTorch inference engine for the model of a trained run, or for an ensemble."""

import logging
import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import nn

from seqlab.base.malloc import prepare_heap
from seqlab.base.world import ProgressCallback
from seqlab.data.batch import collate_prompts
from seqlab.data.text_config import TextConfig
from seqlab.data.text_sampler import start_id
from seqlab.inference.decode import DECODING_BATCH_TOKENS, decode_rows
from seqlab.inference.engine import PairScore
from seqlab.inference.scorer import SCORING_BATCH_TOKENS, score_rows
from seqlab.models.interfaces import FixedContextModel
from seqlab.nn.precision import prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.config import SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.fusion import WeightedLm
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import PositionModel, Stepper
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)

LENGTH_MARGIN = 1.25
"""Lines that are longer than this multiple of the longest training line are split into segments."""


class TorchEngine:
    """An `Engine` for the model of a trained run, or for an ensemble of several. Batching does not change results."""

    def __init__(
        self,
        members: Sequence[LoadedRun],
        device: torch.device,
        dtype: torch.dtype,
        scoring_dtype: torch.dtype | None = None,
    ) -> None:
        """Move the models to the device and set the dtype of their matrix products, in place.

        `score` computes in `scoring_dtype` if it is given: with copies of the models, loaded when they are needed.

        Raises:
            ValueError: `members` is empty, or the members have different vocabularies.
        """
        refuse_different_vocabularies(members)
        self.members = list(members)
        self.device = device
        self.dtype, self.scoring_dtype = dtype, scoring_dtype or dtype
        if device.type == "cpu":
            prepare_heap()
        for member in members:
            prepare_inference(member.model, device, dtype)
        first = members[0]
        self.tokenizer = first.tgt_tokenizer
        self.model: Stepper | PositionModel
        self.lm: WeightedLm | None = None
        self._impossible_tokens: dict[int, str] = {}
        if len(members) > 1:
            self.model = Ensemble([member.stepper for member in members])
        else:
            self.model = first.model if isinstance(first.model, PositionModel) else first.stepper

    def __repr__(self) -> str:
        return f"TorchEngine({self.members}, {self.device})"

    @property
    def stepper(self) -> Stepper:
        """The autoregressive model or ensemble; raises ValueError if the model is non-autoregressive."""
        return self.members[0].stepper if isinstance(self.model, PositionModel) else self.model

    @cached_property
    def scoring_models(self) -> list[nn.Module]:
        """The models that score, in `scoring_dtype`."""
        return models_for_scoring(self.members, self.device, self.dtype, self.scoring_dtype)

    def fuse(self, lm: LoadedRun, weight: float, length_reward: float, dtype: torch.dtype) -> None:
        """Add a language model for shallow fusion (see `WeightedLm`); scores then include its log-probabilities.

        Raises:
            ValueError: its vocabulary differs; the weight is not above 0; the model copies unknown words; or the model
                is non-autoregressive and ends its targets at eos, or is combined with a language model that is not a
                `FixedContextModel`.
        """
        data = lm.config.data
        assert isinstance(data, TextConfig), "load the language model by its `model_noun`"
        if has_copied_unknowns(self.members):
            raise ValueError(
                f"{self.members[0].folder.path} copies words that are not in the vocabulary (`data.copy_unknown`), "
                "which a language model cannot score: leave `lm` out."
            )
        if _vocabulary(lm.tgt_tokenizer) != _vocabulary(self.tokenizer):
            raise ValueError(
                f"{lm.folder.path} and {self.members[0].folder.path} have different vocabularies: train the language "
                "model with the translator's tokenizer (`data.tokenizer.kind: saved`)."
            )
        if isinstance(self.model, PositionModel):
            self._check_fusion(lm, self.model)
        self._impossible_tokens = dict(zip(lm.impossible_ids, self.tokenizer.tokens(lm.impossible_ids), strict=True))
        if self._impossible_tokens:
            logger.warning(
                "%s gives probability 0 to %d of the %d tokens of the vocabulary, so outputs never contain them: %s",
                lm.folder.path,
                len(self._impossible_tokens),
                self.tokenizer.vocab_size,
                ", ".join(list(self._impossible_tokens.values())[:5])
                + (" ..." if len(self._impossible_tokens) > 5 else ""),
            )
        prepare_inference(lm.model, self.device, dtype)
        first = start_id(data, self.tokenizer)
        self.lm = WeightedLm(
            lm.stepper,
            weight=weight,
            length_reward=length_reward,
            start_lm=lambda rows, device: collate_prompts([[first]] * rows).to(device),
        )

    def _check_fusion(self, lm: LoadedRun, model: PositionModel) -> None:
        """Raise ValueError unless a non-autoregressive model can be combined with a language model."""
        family, path = self.members[0].config.model.family, self.members[0].folder.path
        if model.ends_at_eos:
            raise ValueError(
                f"{path} ends its output at the first eos, which a language model cannot score here: `lm` needs a "
                "model that predicts target lengths (`model.length: classifier`)."
            )
        if not isinstance(lm.stepper, FixedContextModel):
            raise ValueError(
                f"{lm.folder.path} (`model.family: {lm.config.model.family}`) would have to read each text from its "
                f"start after each pass of {path} (`model.family: {family}`): use an n-gram model (`ngram_lm`)."
            )

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        need_scores: bool = True,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
        need_attention: bool = False,
    ) -> list[list[Hypothesis]]:
        """Decode with `decode_rows`; raise ValueError for a prefix with probability 0 under the language model."""
        for token in (self._impossible_tokens.get(token_id) for prefix in prefixes or () for token_id in prefix):
            if token is not None:
                raise ValueError(
                    f"A prefix contains {token!r}, to which the language model gives probability 0: leave it out, or "
                    "translate without `lm`."
                )
        return decode_rows(
            self.model,
            src_rows,
            config,
            self.tokenizer,
            prefixes=prefixes,
            batch_tokens=DECODING_BATCH_TOKENS if batch_tokens is None else batch_tokens,
            device=self.device,
            progress=progress,
            need_attention=need_attention,
            need_scores=need_scores,
            lm=self.lm,
        )

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[PairScore]:
        """Score with `score_rows`."""
        return score_rows(
            self.scoring_models,  # type: ignore[arg-type]
            src_rows,
            tgt_rows,
            self.tokenizer,
            batch_tokens=SCORING_BATCH_TOKENS if batch_tokens is None else batch_tokens,
            device=self.device,
            progress=progress,
        )


def models_for_scoring(
    members: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype, scoring_dtype: torch.dtype
) -> list[nn.Module]:
    """Return the models of runs whose matrix products are in `dtype`, or copies of their checkpoints in another dtype.

    Raises:
        ValueError: a copy is needed, but the checkpoint of a run has been removed.
    """
    if scoring_dtype == dtype:
        return [member.model for member in members]
    copies = [load_run(member.folder.path, str(member.step)).model for member in members]
    for model in copies:
        prepare_inference(model, device, scoring_dtype)
    return copies


def refuse_different_vocabularies(members: Sequence[LoadedRun]) -> None:
    """Raise ValueError if there is no member, or if members have different source or target vocabularies."""
    if not members:
        raise ValueError("`run` must name at least 1 run, but names 0 instead.")
    first = members[0]
    for member in members[1:]:
        for side in ("src", "tgt"):
            name = f" {side}" if first.config.data.num_sides > 1 else ""
            if _vocabulary(getattr(first, f"{side}_tokenizer")) != _vocabulary(getattr(member, f"{side}_tokenizer")):
                raise ValueError(
                    f"{first.folder.path} and {member.folder.path} have different{name} vocabularies: the runs of an "
                    "ensemble must share their tokenizers (train the second run with `--init_from`, or with the "
                    "tokenizer of the first: `data.tokenizer.kind: saved`)."
                )


def _vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Return the token of each id."""
    return tokenizer.tokens(range(tokenizer.vocab_size))


def has_copied_unknowns(members: Sequence[LoadedRun]) -> bool:
    """Return whether the models were trained with ids for unknown words; raise ValueError if only some were."""
    settings = {member.config.data.copy_unknown for member in members}
    if len(settings) > 1:
        raise ValueError("The models of an ensemble must all be trained with `data.copy_unknown`, or none of them.")
    return settings.pop()


def max_source_tokens(member: LoadedRun) -> int:
    """Return the maximum number of source tokens per line, without eos, by the model's limit and its training data.

    For lines much longer than its training lines, a Transformer outputs an unrelated short sentence or repeats itself.
    """
    by_model = member.max_length - member.config.data.src_special_ids
    if member.longest_src_tokens is None:
        return by_model
    return min(by_model, math.ceil(LENGTH_MARGIN * member.longest_src_tokens))
