"""CTranslate2 as the engine of a `Run`, without torch."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from seqlab.base.world import OnRows
from seqlab.export.folder import ExportFolder
from seqlab.inference.decode import length_batches
from seqlab.inference.engine import PairScore
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.text import Tokenizer, banned_ids

CTRANSLATE2_BATCH_TOKENS = 512
"""Padded source tokens that one thread translates together, or padded tokens of the longer side that it scores."""
FILLER = -1e8
"""A log-probability below this marks what fills a beam for want of a hypothesis."""

EMPTY = Hypothesis(ids=[], score=0.0, log_prob=0.0, finished=True, token_log_probs=[])


class CTranslate2Engine:
    """An `Engine` over an exported folder: as many batches at a time as threads.

    Limits of length, forced prefixes, n-best lists and the plain length penalty mean what they mean elsewhere. What
    differs from seqlab's own search:

    - It always stops early: `early_stopping: false` is refused.
    - It renormalises over the ids that are not forbidden. Exact scores cost a second, forced pass, which is made where
      they are asked for, and where more than pad and bos is forbidden or forced, as there it changes the ranking.
    - The last bits of fp32 products depend on the batch, so that a near tie may go the other way in another batch.
    """

    def __init__(self, folder: ExportFolder, tokenizer: Tokenizer, *, device: str = "auto", threads: int = 1) -> None:
        """Load the model.

        Args:
            folder: what `export_run` wrote.
            tokenizer: the target side's.
            device: `cpu`, `cuda`, `cuda:1` or `auto`.
            threads: batches that are computed at the same time, on one CPU thread each.

        Raises:
            ValueError: CTranslate2 is not installed, or cannot compute on this device.
        """
        self.translator = open_translator(folder, device, threads)
        self.tokenizer = tokenizer
        self._src_names, self._tgt_names = folder.vocabulary("source"), folder.vocabulary("target")
        self._tgt_ids = {name: index for index, name in enumerate(self._tgt_names)}

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        need_scores: bool = True,
        batch_tokens: int | None = None,
        progress: OnRows | None = None,
        need_attention: bool = False,
    ) -> list[list[Hypothesis]]:
        """Search as the `Engine` protocol says.

        Raises:
            ValueError: the config asks for something that CTranslate2 has not, or attention is asked for.
        """
        refuse_search(config)
        if need_attention:
            raise ValueError("Attention is not read from CTranslate2: translate without `--engine ctranslate2`.")
        forced = prefixes or [()] * len(src_rows)
        tokens = CTRANSLATE2_BATCH_TOKENS if batch_tokens is None else -(-batch_tokens // config.beam_size)
        submitted = (
            (places, self._submit([src_rows[i] for i in places], [forced[i] for i in places], limits, config))
            for places, limits in batches_of_equal_limits(src_rows, config, tokens)
        )
        found = {i: self._hypotheses(answer, config) for i, answer in _answers(submitted, progress)}
        if progress is not None and len(found) < len(src_rows):
            progress(len(src_rows) - len(found))
        is_constrained = config.min_length_ratio > 0 or config.no_repeat_ngram_size > 0
        for i, hypotheses in found.items():
            if not (is_constrained or forced[i]):
                del hypotheses[config.num_hypotheses :]  # the others cannot come before these
        inexact = {i: best for i, best in found.items() if need_scores or is_constrained or forced[i]}
        found |= self._rescored(src_rows, inexact, config)
        return [found[i][: config.num_hypotheses] if i in found else [EMPTY] for i in range(len(src_rows))]

    def _submit(
        self,
        src_rows: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        limits: tuple[int, int],
        config: SearchConfig,
    ) -> list[Any]:
        """Hand a batch over to the next free thread; limits count eos, CTranslate2's shortest length does not."""
        shortest, longest = limits
        banned = banned_ids(self.tokenizer)
        answers = self.translator.translate_batch(
            _named(src_rows, self._src_names),
            _named(prefixes, self._tgt_names) if any(prefixes) else None,
            asynchronous=True,
            beam_size=config.beam_size,
            num_hypotheses=config.beam_size,  # all of them, as the best is chosen by other rules
            length_penalty=config.length_alpha,
            no_repeat_ngram_size=config.no_repeat_ngram_size,
            suppress_sequences=[[self._tgt_names[i]] for i in banned],
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=longest,
            min_decoding_length=shortest - 1,
            return_scores=True,
        )
        assert isinstance(answers, list)
        return answers

    def _hypotheses(self, answer: Any, config: SearchConfig) -> list[Hypothesis]:
        """Translate an answer: all hypotheses, finished ones first, best first."""
        hypotheses = []
        for names, score in zip(answer.hypotheses, answer.scores, strict=True):
            ids = [self._tgt_ids[name] for name in names]
            finished = ids[-1:] == [self.tokenizer.eos_id]
            log_prob = score * length_penalty(len(ids), config)
            hypotheses.append(Hypothesis(ids[: len(ids) - finished], score, log_prob, finished, []))
        real = [hypothesis for hypothesis in hypotheses if hypothesis.log_prob > FILLER]
        return sorted(real or hypotheses[:1], key=rank)

    def _rescored(
        self, src_rows: Sequence[Sequence[int]], found: Mapping[int, list[Hypothesis]], config: SearchConfig
    ) -> dict[int, list[Hypothesis]]:
        """Score the hypotheses of some rows by a forced pass, and rank them by that."""
        pairs = [(src_rows[i], hypothesis.ids) for i, hypotheses in found.items() for hypothesis in hypotheses]
        scores = iter(self._forced_scores(pairs, CTRANSLATE2_BATCH_TOKENS, None))
        return {
            i: sorted((with_scores(each, next(scores).token_log_probs, config) for each in hypotheses), key=rank)
            for i, hypotheses in found.items()
        }

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        batch_tokens: int | None = None,
        progress: OnRows | None = None,
    ) -> list[PairScore]:
        """Score as the `Engine` protocol says."""
        pairs = list(zip(src_rows, tgt_rows, strict=True))
        return self._forced_scores(pairs, CTRANSLATE2_BATCH_TOKENS if batch_tokens is None else batch_tokens, progress)

    def _forced_scores(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        batch_tokens: int,
        progress: OnRows | None,
    ) -> list[PairScore]:
        submitted = (
            (
                places,
                self.translator.score_batch(
                    _named([pairs[i][0] for i in places], self._src_names),
                    _named([pairs[i][1] for i in places], self._tgt_names),
                    max_input_length=0,
                    asynchronous=True,
                ),
            )
            for places in length_batches([max(len(src), len(tgt)) + 1 for src, tgt in pairs], batch_tokens)
        )
        log_probs = {i: answer.log_probs for i, answer in _answers(submitted, progress)}
        return [PairScore(sum(log_probs[i]), len(log_probs[i]), log_probs[i]) for i in range(len(pairs))]


def _answers(submitted: Iterable[tuple[list[int], list[Any]]], progress: OnRows | None) -> Iterator[tuple[int, Any]]:
    """Yield each row's answer, batch by batch in the order in which they are submitted, while later ones compute.

    Submitting waits while CTranslate2 has enough to do, so that whole batches of answers lie there meanwhile.
    """
    waiting: deque[tuple[list[int], list[Any]]] = deque()

    def first() -> Iterator[tuple[int, Any]]:
        places, answers = waiting.popleft()
        yield from ((i, answer.result()) for i, answer in zip(places, answers, strict=True))
        if progress is not None:
            progress(len(places))

    for batch in submitted:
        waiting.append(batch)
        while waiting and all(answer.done() for answer in waiting[0][1]):
            yield from first()
    while waiting:
        yield from first()


def _named(rows: Sequence[Sequence[int]], names: Sequence[str]) -> list[list[str]]:
    return [[names[index] for index in row] for row in rows]


def rank(hypothesis: Hypothesis) -> tuple[bool, float]:
    """Sort finished hypotheses before the others, and better ones before worse."""
    return not hypothesis.finished, -hypothesis.score


def with_scores(hypothesis: Hypothesis, log_probs: Sequence[float], config: SearchConfig) -> Hypothesis:
    """Give a hypothesis the log-probabilities of its ids and of eos, which is left out where it was not reached."""
    reached = list(log_probs[: hypothesis.num_tokens])
    log_prob = sum(reached)
    score = log_prob / length_penalty(len(reached), config)
    return replace(hypothesis, score=score, log_prob=log_prob, token_log_probs=reached)


def refuse_search(config: SearchConfig) -> None:
    """Raise ValueError, naming the field, for a search that CTranslate2 cannot do."""
    config.check_autoregressive()
    if config.length_penalty != "plain" and config.length_alpha != 0:
        raise ValueError(
            f"`length_penalty: {config.length_penalty}` is unknown to CTranslate2, which divides by len^alpha: take "
            "`plain`, or translate without `--engine ctranslate2`."
        )
    if config.coverage_penalty:
        raise ValueError(
            f"`coverage_penalty: {config.coverage_penalty}` is not computed with CTranslate2: leave it out, or "
            "translate without `--engine ctranslate2`."
        )
    if config.early_stopping is False and config.beam_size > 1:
        raise ValueError(
            "`early_stopping: false` is unknown to CTranslate2, which always stops early: leave it out, or translate "
            "without `--engine ctranslate2`."
        )


def batches_of_equal_limits(
    src_rows: Sequence[Sequence[int]], config: SearchConfig, batch_tokens: int
) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Group the rows that have ids, longest first, with their shortest and longest hypothesis.

    CTranslate2 has one pair of limits for a batch, and a search may depend on limits that it does not reach.
    """
    lengths = [len(row) + 1 for row in src_rows]
    order = sorted((i for i, length in enumerate(lengths) if length > 1), key=lambda i: -lengths[i])
    shortest, longest = length_limits(lengths, len(lengths), config)
    for limits, group in groupby(order, key=lambda i: (shortest[i], longest[i])):
        same = list(group)
        for places in length_batches([lengths[i] for i in same], batch_tokens):
            yield [same[place] for place in places], limits


def open_translator(folder: ExportFolder, device: str, threads: int) -> Any:
    """Load an exported folder with CTranslate2; raises ValueError where it is not installed or has no such device."""
    ctranslate2 = require_ctranslate2()
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    name, _, index = device.partition(":")
    try:
        return ctranslate2.Translator(
            str(folder.path),
            name,
            device_index=int(index or 0),
            inter_threads=threads,  # of one thread each: two threads on one batch are slower than one
            intra_threads=1,
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"CTranslate2 cannot load {folder.path} on `device` {device}: {error}. If the folder is damaged, delete it "
            "and export the run again; in the run's own folder the next use does."
        ) from error


def require_ctranslate2() -> Any:
    """Import CTranslate2; raises ValueError naming the extra where it is not installed."""
    try:
        import ctranslate2
    except ModuleNotFoundError as error:
        if error.name != "ctranslate2":
            raise
        raise ValueError("CTranslate2 is missing, which needs an extra: pip install 'seqlab[ctranslate2]'.") from None
    return ctranslate2
