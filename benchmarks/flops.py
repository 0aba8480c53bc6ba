"""Floating-point operations of a model, counted from its shape and the number of tokens without padding.

Only matrix products count; a multiplication and an addition are two operations. Padding and repeated computations do
not count. The backward pass of a product is two products of the same size.
"""

from collections.abc import Iterable

from benchmarks.scale import RecurrentSizes, Sizes

TRAINING_PASSES = 3
"""One product in the forward pass and two in the backward pass."""


GATES = 4
"""Gates of an LSTM, each with a product with the input and one with the hidden state."""


def encoder_flops(sizes: Sizes, src: int) -> int:
    """Count one forward pass of the encoder over `src` tokens, and the cross-attention keys and values."""
    if isinstance(sizes, RecurrentSizes):
        size = sizes.hidden_size  # the hidden state of each direction has half of it
        return 2 * src * (GATES * size * (size + size // 2) + size * size)
    d, ff = sizes.d_model, sizes.d_ff
    matrices = sizes.num_encoder_layers * (4 * d * d + 2 * d * ff) + sizes.num_decoder_layers * 2 * d * d
    attention = sizes.num_encoder_layers * 2 * d * src * src  # two products: scores, weighted values
    return 2 * (matrices * src + attention)


def decoder_flops(sizes: Sizes, src: int, tgt: int) -> int:
    """Count one forward pass of the decoder over `tgt` tokens, including the projection to the vocabulary.

    A target position attends to itself and earlier positions; masked positions are not counted.
    """
    if isinstance(sizes, RecurrentSizes):
        size = sizes.hidden_size
        layer = GATES * size * ((2 if sizes.input_feeding else 1) * size + size)
        attended = 2 * src * size  # two products: scores, weighted values
        return 2 * tgt * (layer + attended + 2 * size * size + sizes.vocab_size * size)
    d, ff = sizes.d_model, sizes.d_ff
    matrices = sizes.num_decoder_layers * (6 * d * d + 2 * d * ff) + sizes.vocab_size * d
    attended = tgt * (tgt + 1) // 2 + tgt * src
    attention = sizes.num_decoder_layers * 2 * d * attended
    return 2 * (matrices * tgt + attention)


def training_flops(sizes: Sizes, lengths: Iterable[tuple[int, int]]) -> int:
    """Count one forward and backward pass over pairs of (source, target) lengths, which include special ids."""
    forward = sum(encoder_flops(sizes, src) + decoder_flops(sizes, src, tgt) for src, tgt in lengths)
    return TRAINING_PASSES * forward


def decoding_flops(sizes: Sizes, lengths: Iterable[tuple[int, int]], beam_size: int) -> int:
    """Count decoding of (source, output) lengths, which include special ids, with `beam_size` hypotheses.

    The first position is computed once, because all hypotheses are equal there.
    """
    total = 0
    for src, tgt in lengths:
        first = decoder_flops(sizes, src, 1)
        total += encoder_flops(sizes, src) + first + beam_size * (decoder_flops(sizes, src, tgt) - first)
    return total
