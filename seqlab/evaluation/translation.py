"""BLEU, chrF and TER as computed by sacrebleu, with its signatures.

Post 2018, "A Call for Clarity in Reporting BLEU Scores", W18-6319. sacrebleu is imported when a metric is called, so
listing the metrics, as in a command's help, does not import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .score import LineStatistics, References, Score

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacrebleuMetric


MAX_TER_PAIRS = 1 << 24
"""Maximum product of the numbers of words of a hypothesis and its reference, to limit sacrebleu's memory."""


def bleu(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute BLEU, 0 to 100, of detokenized, cased text: 13a tokenization, exponential smoothing (P02-1040).

    13a splits at spaces and punctuation. For text without spaces use another metric of this module.
    """
    return _bleu("13a", hypotheses, references)


def bleu_zh(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute BLEU of Chinese: each Chinese character is a token, all other text is tokenized by 13a."""
    return _bleu("zh", hypotheses, references)


def bleu_ja_mecab(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute BLEU of Japanese, tokenized by MeCab (`pip install 'sacrebleu[ja]'`)."""
    return _bleu("ja-mecab", hypotheses, references)


def bleu_flores200(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute BLEU of any language over FLORES-200 subwords; sacrebleu downloads their model once (2207.04672)."""
    return _bleu("flores200", hypotheses, references)


def bleu_char(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute BLEU over characters, for text without spaces in any script."""
    return _bleu("char", hypotheses, references)


def _bleu(tokenize: str, hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute BLEU's statistics; raise ValueError if a tokenizer is not installed or cannot be downloaded."""
    from sacrebleu.metrics import BLEU

    try:
        # `force` only silences a warning about text that looks tokenized, which names options of sacrebleu's command.
        metric = BLEU(tokenize=tokenize, lowercase=False, force=True)
    except (RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"BLEU's tokenizer `{tokenize}` is not installed: {reason}") from None
    return _line_statistics(metric, hypotheses, references, higher_is_better=True)


def chrf(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute chrF2, 0 to 100: the F-score of character n-grams up to 6, with beta = 2 for recall (W15-3049)."""
    from sacrebleu.metrics import CHRF

    return _line_statistics(CHRF(), hypotheses, references, higher_is_better=True)


def ter(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute TER in percent, lower is better: edits and shifts per reference word, without case (Snover et al. 2006).

    Raises:
        ValueError: a line is too long for sacrebleu's memory.
    """
    from sacrebleu.metrics import TER

    for number, (hypothesis, *line_refs) in enumerate(zip(hypotheses, *references, strict=True), start=1):
        longest = max(len(line_ref.split()) for line_ref in line_refs if line_ref is not None)
        if len(hypothesis.split()) * longest > MAX_TER_PAIRS:
            raise ValueError(
                f"line {number}: is too long for TER, which needs memory for each pair of words: leave TER out."
            )
    return _line_statistics(TER(), hypotheses, references, higher_is_better=False)


def _line_statistics(
    metric: SacrebleuMetric,
    hypotheses: Sequence[str],
    references: References,
    *,
    higher_is_better: bool,
) -> LineStatistics:
    # sacrebleu's public methods give no access to the statistics of lines. Its metrics implement these private ones,
    # and its significance tests call them. The signature is complete only after references were passed. sacrebleu
    # accepts None for a missing reference, although its types do not.
    rows = np.array(metric._extract_corpus_statistics(hypotheses, references))  # type: ignore[arg-type]
    signature = str(metric.get_signature())

    def score_of_sum(summed: np.ndarray) -> Score:
        result = metric._compute_score_from_stats(summed.tolist())
        return Score(result.name, float(result.score), signature, higher_is_better, _extra(result))

    return LineStatistics(rows, score_of_sum)


def _extra(result: Any) -> dict[str, Any]:
    """Return the additional figures of a BLEU or TER score; chrF is usually reported without any."""
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
