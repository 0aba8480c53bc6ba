"""BLEU, chrF and TER as sacrebleu defines them; the signature says how.

Post 2018, "A Call for Clarity in Reporting BLEU Scores", W18-6319. sacrebleu is imported when a metric is called, so
that naming the metrics (a command's help) costs no start-up time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .score import LineStatistics, References, Score

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacrebleuMetric


MAX_TER_PAIRS = 1 << 24
"""Words of a hypothesis times those of its reference, up to which sacrebleu's table fits into memory."""


def bleu(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """BLEU, 0 to 100, of detokenised text with its case: 13a tokenisation, exponential smoothing (P02-1040).

    13a divides words at spaces and punctuation: text without spaces needs one of the metrics below.
    """
    return _bleu("13a", hypotheses, references)


def bleu_zh(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """BLEU of Chinese: each Chinese character is a token, all else is tokenised as by 13a."""
    return _bleu("zh", hypotheses, references)


def bleu_ja_mecab(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """BLEU of Japanese, tokenised by MeCab, which `pip install 'sacrebleu[ja]'` brings."""
    return _bleu("ja-mecab", hypotheses, references)


def bleu_flores200(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """BLEU of any language over the subwords of FLORES-200, whose model sacrebleu downloads once (2207.04672)."""
    return _bleu("flores200", hypotheses, references)


def bleu_char(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """BLEU over characters, for text without spaces in any script."""
    return _bleu("char", hypotheses, references)


def _bleu(tokenize: str, hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Count what BLEU sums; raises ValueError where a tokenizer is not installed or cannot be downloaded."""
    from sacrebleu.metrics import BLEU

    try:
        # `force` only silences advice on text that looks tokenised, which speaks of parameters of sacreBLEU's own.
        metric = BLEU(tokenize=tokenize, lowercase=False, force=True)
    except (RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"BLEU's tokenizer `{tokenize}` is not installed: {reason}") from None
    return _line_statistics(metric, hypotheses, references, higher_is_better=True)


def chrf(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """chrF2, 0 to 100: the F-score of character n-grams up to 6 with recall counted twice (W15-3049)."""
    from sacrebleu.metrics import CHRF

    return _line_statistics(CHRF(), hypotheses, references, higher_is_better=True)


def ter(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """TER in percent, lower is better: edits and shifts per reference word (Snover et al. 2006), case ignored."""
    from sacrebleu.metrics import TER

    for number, (hypothesis, *of_line) in enumerate(zip(hypotheses, *references, strict=True), start=1):
        longest = max(len(each.split()) for each in of_line if each is not None)
        if len(hypothesis.split()) * longest > MAX_TER_PAIRS:
            raise ValueError(
                f"line {number}: is too long for TER, which takes memory for each pair of words: leave it out."
            )
    return _line_statistics(TER(), hypotheses, references, higher_is_better=False)


def _line_statistics(
    metric: SacrebleuMetric,
    hypotheses: Sequence[str],
    references: References,
    *,
    higher_is_better: bool,
) -> LineStatistics:
    # The methods with an underscore are those that sacrebleu's metrics implement and its own significance tests call;
    # the public ones give no access to the statistics of a line. The signature is known once references were read.
    # A reference that a line lacks is None there too, which sacrebleu's types do not say.
    rows = np.array(metric._extract_corpus_statistics(hypotheses, references))  # type: ignore[arg-type]
    signature = str(metric.get_signature())

    def score_of_sum(summed: np.ndarray) -> Score:
        result = metric._compute_score_from_stats(summed.tolist())
        return Score(result.name, float(result.score), signature, higher_is_better, _extra(result))

    return LineStatistics(rows, score_of_sum)


def _extra(result: Any) -> dict[str, Any]:
    """Return the counts behind a BLEU or TER value; chrF has none that anyone reports."""
    if result.name == "BLEU":
        return {
            "precisions": [float(precision) for precision in result.precisions],
            "brevity_penalty": float(result.bp),
            "hypothesis_length": int(result.sys_len),
            "reference_length": int(result.ref_len),
        }
    if result.name == "TER":
        return {"num_edits": float(result.num_edits), "reference_length": float(result.ref_length)}
    return {}
