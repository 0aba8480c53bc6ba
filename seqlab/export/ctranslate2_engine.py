"""Decode and score with CTranslate2, as the engine of a translator, without torch."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from seqlab.base.world import ProgressCallback
from seqlab.export.export_folder import ExportFolder
from seqlab.inference.engine import PairScore, length_batches
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.text import Tokenizer, banned_ids

CTRANSLATE2_BATCH_TOKENS = 512
"""Padded tokens per batch: of the source when translating, of source or target, the longer of the two, when scoring."""
MIN_REACHABLE_LOG_PROB = -1e8
"""Hypotheses with a lower log-probability are placeholders: the beam has too few real hypotheses."""

EMPTY_HYPOTHESIS = Hypothesis(ids=[], score=0.0, log_prob=0.0, finished=True, token_log_probs=[])


class CTranslate2Engine:
    """An `Engine` that runs an exported folder in CTranslate2, one batch per thread.

    Length limits, forced prefixes, n-best lists and the plain length penalty work as in the search of seqlab. The
    differences:

    - It always stops early: `early_stopping: false` is refused.
    - It renormalizes the probabilities of the ids that are not suppressed. Exact scores need a second, teacher-forced
      pass. It is made if scores are requested, and if constraints suppress or force more ids than pad and bos, since
      renormalizing then changes the ranking.
    - The last bits of fp32 matrix products depend on the batch, so that the order of two hypotheses with nearly equal
      scores can differ between batches.
    """

    def __init__(self, folder: ExportFolder, tokenizer: Tokenizer, *, device: str = "auto", threads: int = 1) -> None:
        """Load the model.

        Args:
            folder: an export written by `export_run`.
            tokenizer: the target tokenizer.
            device: `cpu`, `cuda`, `cuda:1` or `auto`.
            threads: number of batches computed in parallel, on one CPU thread each.

        Raises:
            ValueError: CTranslate2 is not installed, or does not support the device.
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
        progress: ProgressCallback | None = None,
        need_attention: bool = False,
    ) -> list[list[Hypothesis]]:
        """Decode as the `Engine` protocol specifies.

        Raises:
            ValueError: CTranslate2 does not support the search, or attention is requested.
        """
        refuse_unsupported_search(config)
        if need_attention:
            raise ValueError("Attention is not available with CTranslate2: translate without `--engine ctranslate2`.")
        forced = prefixes or [()] * len(src_rows)
        tokens = CTRANSLATE2_BATCH_TOKENS if batch_tokens is None else -(-batch_tokens // config.beam_size)
        submitted = (
            (indices, self._submit([src_rows[i] for i in indices], [forced[i] for i in indices], limits, config))
            for indices, limits in batches_of_equal_limits(src_rows, config, tokens)
        )
        hypotheses_by_row = {i: self._hypotheses(result, config) for i, result in _iter_results(submitted, progress)}
        if progress is not None and len(hypotheses_by_row) < len(src_rows):
            progress(len(src_rows) - len(hypotheses_by_row))
        is_constrained = config.min_length_ratio > 0 or config.no_repeat_ngram_size > 0
        for i, hypotheses in hypotheses_by_row.items():
            if not (is_constrained or forced[i]):
                del hypotheses[config.num_hypotheses :]  # exact scores would not change their order
        to_rescore = {i: best for i, best in hypotheses_by_row.items() if need_scores or is_constrained or forced[i]}
        hypotheses_by_row |= self._rescore(src_rows, to_rescore, config)
        return [
            hypotheses_by_row[i][: config.num_hypotheses] if i in hypotheses_by_row else [EMPTY_HYPOTHESIS]
            for i in range(len(src_rows))
        ]

    def _submit(
        self,
        src_rows: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        limits: tuple[int, int],
        config: SearchConfig,
    ) -> list[Any]:
        """Submit a batch to the next free thread; `limits` are the minimum and maximum length including eos."""
        shortest, longest = limits
        banned = banned_ids(self.tokenizer)
        results = self.translator.translate_batch(
            _to_names(src_rows, self._src_names),
            _to_names(prefixes, self._tgt_names) if any(prefixes) else None,
            asynchronous=True,
            beam_size=config.beam_size,
            num_hypotheses=config.beam_size,  # all of them, since `rank_key` ranks differently
            length_penalty=config.length_alpha,
            no_repeat_ngram_size=config.no_repeat_ngram_size,
            suppress_sequences=[[self._tgt_names[i]] for i in banned],
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=longest,
            min_decoding_length=shortest - 1,  # without eos
            return_scores=True,
        )
        assert isinstance(results, list)
        return results

    def _hypotheses(self, result: Any, config: SearchConfig) -> list[Hypothesis]:
        """Convert a result of CTranslate2 to hypotheses: finished ones first, then by score."""
        hypotheses = []
        for names, score in zip(result.hypotheses, result.scores, strict=True):
            ids = [self._tgt_ids[name] for name in names]
            finished = ids[-1:] == [self.tokenizer.eos_id]
            log_prob = score * length_penalty(len(ids), config)
            hypotheses.append(Hypothesis(ids[: len(ids) - finished], score, log_prob, finished, []))
        real = [hypothesis for hypothesis in hypotheses if hypothesis.log_prob > MIN_REACHABLE_LOG_PROB]
        return sorted(real or hypotheses[:1], key=rank_key)

    def _rescore(
        self, src_rows: Sequence[Sequence[int]], hypotheses_by_row: Mapping[int, list[Hypothesis]], config: SearchConfig
    ) -> dict[int, list[Hypothesis]]:
        """Score the hypotheses of some rows by a teacher-forced pass, and rank them by these scores."""
        pairs = [
            (src_rows[i], hypothesis.ids) for i, hypotheses in hypotheses_by_row.items() for hypothesis in hypotheses
        ]
        scores = iter(self._forced_scores(pairs, CTRANSLATE2_BATCH_TOKENS, None))
        return {
            i: sorted(
                (with_log_probs(output, next(scores).token_log_probs, config) for output in hypotheses), key=rank_key
            )
            for i, hypotheses in hypotheses_by_row.items()
        }

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[PairScore]:
        """Score pairs as the `Engine` protocol specifies."""
        pairs = list(zip(src_rows, tgt_rows, strict=True))
        return self._forced_scores(pairs, CTRANSLATE2_BATCH_TOKENS if batch_tokens is None else batch_tokens, progress)

    def _forced_scores(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        batch_tokens: int,
        progress: ProgressCallback | None,
    ) -> list[PairScore]:
        submitted = (
            (
                indices,
                self.translator.score_batch(
                    _to_names([pairs[i][0] for i in indices], self._src_names),
                    _to_names([pairs[i][1] for i in indices], self._tgt_names),
                    max_input_length=0,
                    asynchronous=True,
                ),
            )
            for indices in length_batches([max(len(src), len(tgt)) + 1 for src, tgt in pairs], batch_tokens)
        )
        log_probs = {i: result.log_probs for i, result in _iter_results(submitted, progress)}
        return [PairScore(sum(log_probs[i]), len(log_probs[i]), log_probs[i]) for i in range(len(pairs))]


def _iter_results(
    submitted: Iterable[tuple[list[int], list[Any]]], progress: ProgressCallback | None
) -> Iterator[tuple[int, Any]]:
    """Yield the index and the result of each row in the order of submission, while later batches are computed.

    CTranslate2 blocks a submission while its queue is full, so that several batches may be finished when it returns.
    """
    pending: deque[tuple[list[int], list[Any]]] = deque()

    def pop_first() -> Iterator[tuple[int, Any]]:
        indices, results = pending.popleft()
        yield from ((i, result.result()) for i, result in zip(indices, results, strict=True))
        if progress is not None:
            progress(len(indices))

    for batch in submitted:
        pending.append(batch)
        while pending and all(result.done() for result in pending[0][1]):
            yield from pop_first()
    while pending:
        yield from pop_first()


def _to_names(rows: Sequence[Sequence[int]], names: Sequence[str]) -> list[list[str]]:
    """Replace ids by their names in CTranslate2's vocabulary."""
    return [[names[index] for index in row] for row in rows]


def rank_key(hypothesis: Hypothesis) -> tuple[bool, float]:
    """Return the sort key that puts finished hypotheses first, then those with higher scores."""
    return not hypothesis.finished, -hypothesis.score


def with_log_probs(hypothesis: Hypothesis, log_probs: Sequence[float], config: SearchConfig) -> Hypothesis:
    """Replace the scores of a hypothesis by those of a teacher-forced pass; skip eos if it is unfinished."""
    token_log_probs = list(log_probs[: hypothesis.num_tokens])
    log_prob = sum(token_log_probs)
    score = log_prob / length_penalty(len(token_log_probs), config)
    return replace(hypothesis, score=score, log_prob=log_prob, token_log_probs=token_log_probs)


def refuse_unsupported_search(config: SearchConfig) -> None:
    """Raise ValueError, naming the field, if CTranslate2 does not support a search."""
    config.check_autoregressive()
    if config.length_penalty != "plain" and config.length_alpha != 0:
        raise ValueError(
            f"`length_penalty: {config.length_penalty}` is not supported by CTranslate2, which divides by len^alpha: "
            "choose `plain`, or translate without `--engine ctranslate2`."
        )
    if config.coverage_penalty:
        raise ValueError(
            f"`coverage_penalty: {config.coverage_penalty}` is not supported with CTranslate2: leave it out, or "
            "translate without `--engine ctranslate2`."
        )
    if config.early_stopping is False and config.beam_size > 1:
        raise ValueError(
            "`early_stopping: false` is not supported by CTranslate2, which always stops early: leave it out, or "
            "translate without `--engine ctranslate2`."
        )


def batches_of_equal_limits(
    src_rows: Sequence[Sequence[int]], config: SearchConfig, batch_tokens: int
) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Group the non-empty rows into batches, longest first; yield their indices and length limits.

    CTranslate2 takes one pair of limits per batch. All rows of a batch have the same pair, since limits can change a
    search even if no hypothesis reaches them.
    """
    lengths = [len(row) + 1 for row in src_rows]
    order = sorted((i for i, length in enumerate(lengths) if length > 1), key=lambda i: -lengths[i])
    shortest, longest = length_limits(lengths, len(lengths), config)
    for limits, group in groupby(order, key=lambda i: (shortest[i], longest[i])):
        same = list(group)
        for positions in length_batches([lengths[i] for i in same], batch_tokens):
            yield [same[position] for position in positions], limits


def open_translator(folder: ExportFolder, device: str, threads: int) -> Any:
    """Load an exported folder with CTranslate2; raises ValueError if this or the device is not available."""
    ctranslate2 = require_ctranslate2()
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    name, _, index = device.partition(":")
    try:
        return ctranslate2.Translator(
            str(folder.path),
            name,
            device_index=int(index or 0),
            inter_threads=threads,  # batches in parallel: two threads on one batch are slower than one
            intra_threads=1,
        )
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"CTranslate2 cannot load {folder.path} on `device` {device}: {error}. If the folder is damaged, delete it "
            "and export the run again; an export in the run folder is created again at the next use."
        ) from error


def require_ctranslate2() -> Any:
    """Import CTranslate2; raises ValueError naming the extra if it is not installed."""
    try:
        import ctranslate2
    except ModuleNotFoundError as error:
        if error.name != "ctranslate2":
            raise
        raise ValueError("CTranslate2 is not installed: pip install 'seqlab[ctranslate2]'.") from None
    return ctranslate2
