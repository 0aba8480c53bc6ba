"""Worker that measures time and memory of one type of work of seqlab at one size."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

import torch

from benchmarks.records import GrowthJob, Json
from benchmarks.scale import ModelSizes
from benchmarks.workers.memory import peak_memory_mb
from benchmarks.workers.seqlab_runs import LABEL_SMOOTHING, transformer_config
from seqlab.base.malloc import prepare_heap
from seqlab.data.batch import Seq2SeqBatch, collate
from seqlab.data.prepare import prepare
from seqlab.models import Transformer
from seqlab.nn.precision import prepare_inference
from seqlab.objectives import CrossEntropyConfig, StepContext
from seqlab.objectives.cross_entropy import CrossEntropy
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import load_tokenizer

PAD_ID, BOS_ID, EOS_ID, FIRST_WORD_ID = 0, 1, 2, 4
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Work = Callable[[], object]


def run(job: Json) -> Json:
    """Run a `GrowthJob`: return the median time of its repetitions, and the additional memory."""
    settings = GrowthJob(**{**job, "sizes": ModelSizes(**job["sizes"])})
    torch.set_num_threads(settings.threads)
    torch.manual_seed(1)
    if settings.device == "cpu":
        prepare_heap()
    before = peak_memory_mb(settings.device)
    prepare_work = {"training": _prepare_training, "decoding": _prepare_decoding, "corpus": _prepare_corpus}
    work = prepare_work[settings.work](settings)
    seconds = []
    for _ in range(settings.warmups + settings.repetitions):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    memory = peak_memory_mb(settings.device) - before
    return {"seconds": median(seconds[settings.warmups :]), "memory_mb": memory}


def _prepare_training(job: GrowthJob) -> Work:
    """Prepare one forward and backward pass."""
    model, batch = _model(job).train(), _batch(job, with_target=True)
    objective = CrossEntropy(CrossEntropyConfig(label_smoothing=LABEL_SMOOTHING))

    def work() -> None:
        with torch.autocast(torch.device(job.device).type, torch.bfloat16, enabled=job.dtype == "bf16"):
            loss = objective(model, batch, StepContext(0))
        loss.total.backward()
        loss.total.item()  # synchronizes with the device
        model.zero_grad(set_to_none=False)

    return work


def _prepare_decoding(job: GrowthJob) -> Work:
    """Prepare decoding of one batch into as many tokens as its source has."""
    model, batch = _model(job).eval(), _batch(job, with_target=False)
    prepare_inference(model, torch.device(job.device), DTYPES[job.dtype])
    config = SearchConfig(beam_size=job.beam_size, min_length_ratio=1.0, max_length_ratio=1.0, max_length_offset=0)

    @torch.inference_mode()
    def work() -> None:
        beam_search(model, batch, config, banned_ids=(PAD_ID, BOS_ID))

    return work


def _prepare_corpus(job: GrowthJob) -> Work:
    """Prepare the encoding of generated pairs into a training cache; each call writes a new one."""
    folder = Path(job.folder) / f"pairs-{job.pairs}"
    tokenizer = load_tokenizer(Path(job.folder) / "tokenizer")
    src, tgt = (str(folder / f"train.{side}") for side in ("en", "de"))
    config = TranslationConfig(train_src=[src], train_tgt=[tgt], valid_fraction=0.01)
    caches = (folder / f"cache-{number}" for number in count())
    return lambda: prepare(config, (tokenizer, tokenizer), next(caches), num_workers=1)  # the same for all sizes


def _model(job: GrowthJob) -> Transformer:
    config = transformer_config(job.sizes, dropout=0.1)
    size = job.sizes.vocab_size
    return Transformer(config, size, size, bos_id=BOS_ID, eos_id=EOS_ID).to(job.device)


def _batch(job: GrowthJob, with_target: bool) -> Seq2SeqBatch:
    rows = torch.randint(FIRST_WORD_ID, job.sizes.vocab_size, (job.sentences, job.length - 1)).numpy()
    ids = {"pad_id": PAD_ID, "bos_id": BOS_ID, "eos_id": EOS_ID}
    return collate(list(rows), list(rows) if with_target else None, range(job.sentences), **ids).to(job.device)
