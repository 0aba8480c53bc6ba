"""`PlainTranslator` with seqlab's weights: equal losses, gradients and decoded outputs."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.scale import RecurrentSizes
from benchmarks.workers.decode_plain_translator import Search
from benchmarks.workers.plain_loop import Batch
from benchmarks.workers.plain_translator import PlainTranslator
from benchmarks.workers.seqlab_runs import LABEL_SMOOTHING, model_config
from benchmarks.workers.weights import joeynmt_weights, plain_translator_weights
from seqlab.data.batch import Seq2SeqBatch, collate
from seqlab.models import RecurrentConfig
from seqlab.models.recurrent import RecurrentTranslator
from seqlab.objectives import CrossEntropyConfig, StepContext
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig

PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
SIZES = [RecurrentSizes(30, hidden_size=16, input_feeding=is_fed) for is_fed in (True, False)]


def random_model(sizes: RecurrentSizes) -> RecurrentTranslator:
    torch.manual_seed(1)
    config = model_config(sizes, 0.1)
    assert isinstance(config, RecurrentConfig)
    model = RecurrentTranslator(config, sizes.vocab_size, sizes.vocab_size, bos_id=BOS_ID, eos_id=EOS_ID).eval()
    for parameter in model.parameters():  # initial zeros and ones would hide exchanged weights
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def copy_to_plain(model: RecurrentTranslator, sizes: RecurrentSizes, stepwise: bool) -> PlainTranslator:
    plain = PlainTranslator(sizes, 0.1, stepwise).eval()
    plain.load_state_dict(plain_translator_weights(dict(model.named_parameters()), stepwise))
    return plain


def make_batch() -> Seq2SeqBatch:
    rows = [[4, 5, 6], [7, 8, 9, 10, 11], [12]]
    return collate(rows, rows[::-1], range(3), pad_id=PAD_ID, bos_id=BOS_ID, eos_id=EOS_ID)


def to_tensors(batch: Seq2SeqBatch) -> Batch:
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    return {"src": batch.src, "src_lengths": batch.src_lengths, "tgt_in": batch.tgt_in, "tgt_out": batch.tgt_out}


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: sizes.name)
def test_losses_and_gradients_match_seqlab(sizes: RecurrentSizes) -> None:
    model, batch = random_model(sizes), make_batch()
    plain, inputs = copy_to_plain(model, sizes, sizes.input_feeding), to_tensors(batch)
    loss = CrossEntropy(CrossEntropyConfig(label_smoothing=LABEL_SMOOTHING))(model, batch, StepContext(0)).total
    logits = plain(inputs).flatten(0, 1)
    found = F.cross_entropy(logits, inputs["tgt_out"].flatten(), reduction="sum", label_smoothing=LABEL_SMOOTHING)
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=0)
    loss.backward()
    found.backward()
    expected = plain_translator_weights(
        {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None},
        sizes.input_feeding,
    )
    for name, parameter in plain.named_parameters():
        if "bias_hh" in name:
            assert parameter.grad is None  # seqlab has one bias for each gate
        else:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-4, msg=name)


def test_stepwise_logits_match_one_pass() -> None:
    sizes = SIZES[1]
    model, inputs = random_model(sizes), to_tensors(make_batch())
    one_pass, stepwise = (copy_to_plain(model, sizes, each)(inputs) for each in (False, True))
    torch.testing.assert_close(stepwise, one_pass, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2, 5])
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: sizes.name)
def test_greedy_and_beam_search_match_seqlab(sizes: RecurrentSizes, beam_size: int) -> None:
    model = random_model(sizes)
    eos_direction = (0.8 if sizes.input_feeding else 0.4) * model.projection.weight[EOS_ID].detach()
    model.decoder.combine.bias.data += eos_direction  # so that outputs have different lengths, some without eos
    rows = [[*torch.randint(3, sizes.vocab_size, (length,)).tolist(), EOS_ID] for length in [6] * 20]
    src = [torch.tensor(row) for row in rows]
    batch = collate([row[:-1] for row in rows], None, range(len(rows)), pad_id=PAD_ID, bos_id=BOS_ID, eos_id=EOS_ID)
    found = Search(copy_to_plain(model, sizes, True), BOS_ID, EOS_ID, [PAD_ID, BOS_ID])(src, beam_size)
    best = beam_search(model, batch, SearchConfig(beam_size=beam_size), banned_ids=(PAD_ID, BOS_ID))
    expected = [[*each.ids, *[EOS_ID] * each.finished] for each, *_ in best]
    assert found == expected
    assert len({len(row) for row in found}) > 2


def test_joeynmt_weights_are_complete_and_in_the_order_of_its_vocabulary() -> None:
    model, size = random_model(SIZES[0]), SIZES[0].vocab_size
    weights = dict(model.named_parameters())
    order = [3, *range(3), *range(4, size)]
    mapped = joeynmt_weights(weights, order)
    words = weights["encoder.embedding.weight"]
    assert torch.equal(mapped["trg_embed.lut.weight"][0], words[3])
    assert torch.equal(mapped["decoder.output_layer.weight"][3], words[2])
    tied = ("trg_embed.lut.weight", "decoder.output_layer.weight")
    untied = {name: value for name, value in mapped.items() if name not in tied and "bias_hh" not in name}
    assert sum(value.numel() for value in untied.values()) == sum(value.numel() for value in weights.values())
