"""Cache builder: the same bytes for any number of processes and after any interruption."""

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from reference.processes import FORKSERVER

from seqlab.data import cache_builder, corpus
from seqlab.data.prepare import prepare
from seqlab.data.tokenizer_training import train_or_load_tokenizer
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import Tokenizer, WordsConfig, load_tokenizer, train_tokenizer

FILES_WITH_TIMES = ("checked.json",)
NUM_LINES = 240
BLOCK_ROWS, ROWS_BETWEEN_SAVES = 30, 60


def prepare_with_small_blocks(config: TranslationConfig, tokenizer: Path, cache: Path, workers: int) -> None:
    """Prepare in a process of its own."""
    corpus.BLOCK_ROWS, cache_builder.ROWS_BETWEEN_SAVES = BLOCK_ROWS, ROWS_BETWEEN_SAVES
    prepare(config, [load_tokenizer(tokenizer)] * 2, cache, num_workers=workers)


class Killed(BaseException):
    """Simulates a killed process."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqlab.data.corpus.BLOCK_ROWS", BLOCK_ROWS)
    monkeypatch.setattr("seqlab.data.cache_builder.ROWS_BETWEEN_SAVES", ROWS_BETWEEN_SAVES)


@pytest.fixture
def config(tmp_path: Path) -> TranslationConfig:
    """Return a config of two corpora with rows to drop for every reason; the validation set is held out."""
    rng = random.Random(1)
    for name, count in (("first", NUM_LINES), ("second", NUM_LINES // 3)):
        pairs = [[" ".join(rng.choices("abcdefghij", k=rng.randrange(1, 12))) for _ in "st"] for _ in range(count)]
        for index in range(0, count, 50):
            pairs[index] = rng.choice([["", "x"], ["a b", "x " * 300], ["a", " ".join("abcdefghij" * 2)], ["a b", "c"]])
        for side in (0, 1):
            (tmp_path / f"{name}.{side}").write_text("".join(pair[side] + "\n" for pair in pairs))
    return TranslationConfig(
        train_src=[str(tmp_path / "first.0"), str(tmp_path / "second.0")],
        train_tgt=[str(tmp_path / "first.1"), str(tmp_path / "second.1")],
        max_length=15,
        subword_sampling=0.1,
    )


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    train_tokenizer(WordsConfig(), ["a b c d e f g h i j"]).save(tmp_path / "tokenizer")
    return load_tokenizer(tmp_path / "tokenizer")


def read_cache(cache: Path) -> dict[str, bytes]:
    """Read all files of a cache except those with times; check that no workspace is left."""
    assert not cache.with_name("cache.tmp").exists()
    files = {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    return {name: raw for name, raw in files.items() if name not in FILES_WITH_TIMES}


def test_the_cache_does_not_depend_on_the_number_of_processes(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    caches = [tmp_path / str(count) / "cache" for count in (1, 3)]
    for cache, count in zip(caches, (1, 3), strict=True):
        data = prepare(config, (tokenizer, tokenizer), cache, num_workers=count)
    assert {"empty", "length_ratio", "too_long"} <= {pair.reason for pair in data.report.examples}
    first, other = map(read_cache, caches)
    assert other == first
    assert not any("state" in name or "statuses" in name for name in first)


def prepare_until_killed(
    config: TranslationConfig, tokenizer: Tokenizer, cache: Path, kill: Callable[[], None]
) -> None:
    """Prepare until `kill`, which is called after each block, raises `Killed`."""
    with pytest.raises(Killed):
        prepare(config, (tokenizer, tokenizer), cache, lambda units, done, total: kill())


def test_a_build_interrupted_after_any_block_resumes(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(config, (tokenizer, tokenizer), tmp_path / "uninterrupted" / "cache")
    expected = read_cache(tmp_path / "uninterrupted" / "cache")
    encoded = record_block_sizes(monkeypatch)
    blocks = -(-NUM_LINES // BLOCK_ROWS) + -(-(NUM_LINES // 3) // BLOCK_ROWS)
    for number in range(1, 2 * blocks + 1):
        cache = tmp_path / str(number) / "cache"
        calls = 0

        def kill(last: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise Killed

        prepare_until_killed(config, tokenizer, cache, kill)
        assert not cache.exists()
        state = cache.with_name("cache.tmp").glob("*/state.json")
        saved = sum(json.loads(path.read_text())["rows"] for path in state)
        encoded.clear()
        prepare(config, (tokenizer, tokenizer), cache)
        assert read_cache(cache) == expected
        assert sum(encoded) == NUM_LINES + NUM_LINES // 3 - saved
        assert saved >= BLOCK_ROWS * (number - blocks) - ROWS_BETWEEN_SAVES - BLOCK_ROWS


def record_block_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the sizes of all blocks encoded in this process."""
    from seqlab.data.row_encoder import RowEncoder

    sizes: list[int] = []
    encode = RowEncoder.__call__

    def counting(self: RowEncoder, task: Any) -> Any:
        sizes.append(len(task.block))
        return encode(self, task)

    monkeypatch.setattr(RowEncoder, "__call__", counting)
    return sizes


def interrupt_build(config: TranslationConfig, tokenizer: Tokenizer, cache: Path) -> Path:
    """Interrupt a build after its first saved state; return the folder of the encoded rows."""

    def kill() -> None:
        if list(cache.with_name("cache.tmp").glob("encoded-*/state.json")):
            raise Killed

    prepare_until_killed(config, tokenizer, cache, kill)
    [folder] = cache.with_name("cache.tmp").glob("encoded-*")
    return folder


def test_a_damaged_state_of_an_interrupted_build_is_not_used(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    prepare(config, (tokenizer, tokenizer), tmp_path / "uninterrupted" / "cache")
    expected = read_cache(tmp_path / "uninterrupted" / "cache")
    cache = tmp_path / "cache"
    workspace = interrupt_build(config, tokenizer, cache).parent
    names = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    assert len(names) > 20
    for name in names:
        for damaged in (None, b"x"):
            (workspace / name).unlink()
            if damaged is not None:
                (workspace / name).write_bytes(damaged)
            prepare(config, (tokenizer, tokenizer), cache)
            assert read_cache(cache) == expected, name
            shutil.rmtree(cache)
            interrupt_build(config, tokenizer, cache)


def test_other_text_or_options_start_a_new_build(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for name, change in (("max_length", 14), ("valid_max_pairs", 3), ("subword_sampling", 0.0)):
        changed = replace(config, **{name: change})
        prepare(changed, (tokenizer, tokenizer), tmp_path / name / "cache")
        interrupt_build(config, tokenizer, tmp_path / "killed" / name / "cache")
        prepare(changed, (tokenizer, tokenizer), tmp_path / "killed" / name / "cache")
        assert read_cache(tmp_path / "killed" / name / "cache") == read_cache(tmp_path / name / "cache")
    interrupt_build(config, tokenizer, tmp_path / "killed" / "text" / "cache")
    path = Path(config.train_src[0])
    path.write_text(path.read_text().replace("a", "b"))
    prepare(config, (tokenizer, tokenizer), tmp_path / "killed" / "text" / "cache")
    prepare(config, (tokenizer, tokenizer), tmp_path / "text" / "cache")
    assert read_cache(tmp_path / "killed" / "text" / "cache") == read_cache(tmp_path / "text" / "cache")


def test_an_interrupted_setup_trains_its_tokenizer_once(
    config: TranslationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(config, tokenizer=WordsConfig(), subword_sampling=0.0)
    first = train_or_load_tokenizer(small, "both", tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr("seqlab.data.tokenizer_training.train_tokenizer", None)
        patch.setattr("seqlab.data.workspace.survey_corpus", None)
        second = train_or_load_tokenizer(small, "both", tmp_path / "cache")
        assert second.tokens(range(second.vocab_size)) == first.tokens(range(first.vocab_size))
        # The corpora are not surveyed a second time.
        prepare(small, (second, second), tmp_path / "cache")
    assert not (tmp_path / "cache.tmp").exists()
    other = replace(small, tokenizer=WordsConfig(vocab_size=8))
    assert train_or_load_tokenizer(other, "both", tmp_path / "cache").vocab_size == 8


def test_a_build_killed_at_random_times_resumes(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)

    def start_process(cache: Path, workers: int) -> BaseProcess:
        arguments = (config, tmp_path / "tokenizer", cache, workers)
        process = FORKSERVER.Process(target=prepare_with_small_blocks, args=arguments)
        process.start()
        return process

    prepare(config, (tokenizer, tokenizer), tmp_path / "uninterrupted" / "cache")
    expected = read_cache(tmp_path / "uninterrupted" / "cache")
    cache = tmp_path / "killed" / "cache"
    for workers in (1, 2, 2):
        process = start_process(cache, workers)
        num_states = rng.randrange(5)
        states: set[bytes] = set()
        while process.is_alive() and len(states) <= num_states:
            for path in cache.with_name("cache.tmp").glob("*/state.json"):
                states |= read_if_exists(path)
            time.sleep(0.001)
        process.kill()
        process.join()
    process = start_process(cache, 2)
    process.join()
    assert process.exitcode == 0
    assert read_cache(cache) == expected


def read_if_exists(path: Path) -> set[bytes]:
    try:
        return {path.read_bytes()}
    except OSError:
        return set()
