"""Worker for decoding with `PlainTranslator` and a batched beam search in plain PyTorch, in length-sorted batches.

The search is that of seqlab. Each step computes the 2K best continuations of a sentence. Those among the best K that
end in eos are finished; the best K others are continued. The search of a sentence ends when K hypotheses have finished
and no unfinished one has a better score. The result has the best mean log-probability. Finished sentences leave the
batch, and attention memory is stored once for all K hypotheses. Several workers run as `ForkedWorkers`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.records import DecodingJob, Json
from benchmarks.scale import RecurrentSizes
from benchmarks.workers.decoding_loop import Output, Translate, length_limit, measure, sorted_batches
from benchmarks.workers.plain_translator import PlainTranslator
from seqlab.base.world import ProgressCallback
from seqlab.inference.forks import ForkedWorkers
from seqlab.text import load_tokenizer


def run(job: Json) -> Json:
    """Run a `DecodingJob`."""
    return measure(_load, job)


def _load(job: DecodingJob) -> Translate:
    torch.set_num_threads(job.workers * job.threads)
    folder = Path(job.folder) / "torch"
    tokenizer = load_tokenizer(Path(job.folder) / "tokenizer")
    sizes = RecurrentSizes(**json.loads((folder / "sizes.json").read_text(encoding="utf-8")))
    model = PlainTranslator(sizes, dropout=0.0, stepwise=True)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    model.to(device=job.device, dtype=torch.bfloat16 if job.dtype == "bf16" else torch.float32).eval()
    search = Search(model, tokenizer.bos_id, tokenizer.eos_id, [tokenizer.pad_id, tokenizer.bos_id])

    def translate(lines: Sequence[str], batch: int) -> list[Output]:
        rows = [[*row, tokenizer.eos_id] for row in tokenizer.encode(lines)]

        def compute(row_indices: list[int], _: ProgressCallback | None) -> list[list[int]]:
            found: dict[int, list[int]] = {}
            worker_rows = [rows[index] for index in row_indices]
            for indices in sorted_batches(worker_rows, batch):
                src = [torch.tensor(worker_rows[index], device=job.device) for index in indices]
                found |= dict(zip(indices, search(src, job.beam_size), strict=True))
            return [found[index] for index in range(len(worker_rows))]

        found = ForkedWorkers(job.workers).map_rows([len(row) for row in rows], compute)
        return [Output(text, len(ids)) for text, ids in zip(tokenizer.decode(found), found, strict=True)]

    return translate


class Search:
    """Greedy and beam search. Shapes: A unfinished sentences, K hypotheses each (one at the first step), V ids."""

    def __init__(self, model: PlainTranslator, bos_id: int, eos_id: int, banned_ids: list[int]) -> None:
        self.model, self.bos_id, self.eos_id, self.banned_ids = model, bos_id, eos_id, banned_ids

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Tensor], beam_size: int) -> list[list[int]]:
        """Translate rows that end in eos; return ids without bos and with eos."""
        src = pad_sequence(list(rows), batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=src.device)
        search = self.greedy if beam_size == 1 else self.beam
        return search(src, lengths, beam_size, length_limit(src.size(1)))

    def greedy(self, src: Tensor, lengths: Tensor, _: int, max_steps: int) -> list[list[int]]:
        """Decode greedily."""
        model, sentences = self.model, torch.arange(len(src), device=src.device)
        memory = model.encode(src, lengths)
        state, last = model.start(memory), torch.full_like(sentences, self.bos_id)
        found = torch.full((len(src), max_steps), self.eos_id, device=src.device)
        for position in range(max_steps):
            state = model.step(model.embedding(last), state, memory)
            last = self._mask_banned_ids(model.logits(state.vector)).argmax(dim=-1)
            found[sentences, position] = last
            unfinished = (last != self.eos_id).nonzero()[:, 0]
            if len(unfinished) == 0:
                break
            if len(unfinished) < len(last):
                sentences, last = sentences[unfinished], last[unfinished]
                memory, state = memory.select(unfinished), state.select(unfinished)
        return [[*row[: row.index(self.eos_id)], self.eos_id] if self.eos_id in row else row for row in found.tolist()]

    def beam(self, src: Tensor, lengths: Tensor, beam_size: int, max_steps: int) -> list[list[int]]:
        """Decode with a beam of `beam_size` hypotheses per sentence."""
        model, sentences = self.model, list(range(len(src)))
        memory = model.encode(src, lengths)
        state, ids = model.start(memory), torch.full((len(src), 1, 1), self.bos_id, device=src.device)
        totals = torch.zeros(len(src), 1, device=src.device)  # (A, K)
        finished: list[list[tuple[float, list[int]]]] = [[] for _ in sentences]
        for length in range(1, max_steps + 1):
            state = model.step(model.embedding(ids[..., -1].flatten()), state, memory)
            log_probs = torch.log_softmax(model.logits(state.vector), dim=-1, dtype=torch.float32)
            summed = self._mask_banned_ids(log_probs).view(*totals.shape, -1) + totals[..., None]
            totals, chosen = summed.flatten(1).topk(2 * beam_size)
            parents, tokens = chosen // summed.size(-1), chosen % summed.size(-1)
            ends = tokens == self.eos_id
            for row, rank in ends[:, :beam_size].nonzero().tolist():
                hypothesis = [*ids[row, parents[row, rank], 1:].tolist(), self.eos_id]
                finished[sentences[row]].append((totals[row, rank].item() / length, hypothesis))
            continued = ends.byte().sort(dim=1, stable=True).indices[:, :beam_size]  # the best K without eos
            totals, parents, tokens = (each.gather(1, continued) for each in (totals, parents, tokens))
            first_rows = summed.size(1) * torch.arange(len(sentences), device=src.device)
            rows = parents + first_rows[:, None]
            ids = torch.cat((ids.flatten(0, 1)[rows], tokens[..., None]), dim=-1)
            means = (totals[:, 0] / length).tolist()  # mean score of the best unfinished hypothesis
            unfinished = [
                row
                for row, sentence in enumerate(sentences)
                if len(finished[sentence]) < beam_size or means[row] > max(finished[sentence])[0]
            ]
            if not unfinished:
                break
            if len(unfinished) < len(sentences):
                memory, sentences = memory.select(torch.tensor(unfinished)), [sentences[row] for row in unfinished]
                rows, ids, totals = rows[unfinished], ids[unfinished], totals[unfinished]
            state = state.select(rows.flatten())
        for row, sentence in enumerate(sentences):
            if not finished[sentence]:  # no hypothesis ended within the length limit
                finished[sentence].append((0.0, ids[row, 0, 1:].tolist()))
        return [max(each)[1] for each in finished]

    def _mask_banned_ids(self, scores: Tensor) -> Tensor:
        scores[:, self.banned_ids] = -torch.inf
        return scores
