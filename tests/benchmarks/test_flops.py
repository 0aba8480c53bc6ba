"""Counts of floating-point operations against torch's `FlopCounterMode`."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.flops import decoder_flops, decoding_flops, encoder_flops, training_flops
from benchmarks.scale import ModelSizes, RecurrentSizes
from benchmarks.workers.plain_translator import PlainTranslator
from benchmarks.workers.train_torch import PlainTransformer

SIZES = ModelSizes(50, d_model=16, d_ff=48, num_heads=2, num_encoder_layers=3, num_decoder_layers=2)


@pytest.mark.parametrize(("src", "tgt"), [(5, 7), (11, 3)])
def test_training_flops_match_torch_except_for_masked_attention(src: int, tgt: int) -> None:
    model = PlainTransformer(SIZES, dropout=0.0)
    batch = {
        "src": torch.randint(50, (1, src)),
        "src_lengths": torch.tensor([src]),
        "tgt_in": torch.randint(50, (1, tgt)),
    }
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(batch).sum().backward()
    masked = SIZES.num_decoder_layers * 2 * SIZES.d_model * (tgt * (tgt - 1) // 2)
    assert training_flops(SIZES, [(src, tgt)]) + 3 * 2 * masked == counter.get_total_flops()


@pytest.mark.filterwarnings("ignore:TF32")
@pytest.mark.parametrize("input_feeding", [True, False])
def test_lstm_flops_match_torch(input_feeding: bool) -> None:
    sizes, src, tgt = RecurrentSizes(50, 16, input_feeding), 5, 7
    model = PlainTranslator(sizes, dropout=0.0, stepwise=input_feeding)
    batch = {
        "src": torch.randint(50, (1, src)),
        "src_lengths": torch.tensor([src]),
        "tgt_in": torch.randint(50, (1, tgt)),
    }
    with FlopCounterMode(display=False) as counter, torch.backends.mkldnn.flags(enabled=False):  # not counted
        model(batch)
    assert encoder_flops(sizes, src) + decoder_flops(sizes, src, tgt) == counter.get_total_flops()


def test_greedy_decoding_flops_equal_one_forward_pass() -> None:
    assert decoding_flops(SIZES, [(5, 7)], 1) == encoder_flops(SIZES, 5) + decoder_flops(SIZES, 5, 7)


def test_beam_flops_repeat_all_positions_except_the_first() -> None:
    narrow, wide = (decoding_flops(SIZES, [(5, 7), (4, 2)], size) for size in (1, 5))
    repeated = sum(decoder_flops(SIZES, src, tgt) - decoder_flops(SIZES, src, 1) for src, tgt in ((5, 7), (4, 2)))
    assert wide - narrow == 4 * repeated
