"""A cache has the same bytes for any number of processes and after any interruption."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

import seqlab
from seqlab.data.prepare import prepare
from seqlab.data.tokenizer_training import learn_tokenizer
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import Tokenizer, WordsConfig, load_tokenizer, train_tokenizer

ROOT = Path(seqlab.__file__).parents[1]
STAMPS = ("checked.json",)  # contains times, which differ
LINES = 240
BLOCK, SAVE = 30, 60

PREPARE = f"""
import json, sys
from pathlib import Path
from seqlab.data import cache_builder, corpus
corpus.BLOCK_ROWS, cache_builder.ROWS_BETWEEN_SAVES = {BLOCK}, {SAVE}
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.data.prepare import prepare
from seqlab.text import load_tokenizer
config, tokenizer, cache, workers = sys.argv[1:]
tokenizer = load_tokenizer(Path(tokenizer))
prepare(TranslationConfig(**json.loads(config)), (tokenizer, tokenizer), Path(cache), num_workers=int(workers))
"""


class Killed(BaseException):
    """Simulates the end of a process."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqlab.data.corpus.BLOCK_ROWS", BLOCK)
    monkeypatch.setattr("seqlab.data.cache_builder.ROWS_BETWEEN_SAVES", SAVE)


@pytest.fixture
def config(tmp_path: Path) -> TranslationConfig:
    """Return a config of two corpora with rows to drop for every reason; a validation set is split off."""
    rng = random.Random(1)
    for corpus, count in (("first", LINES), ("second", LINES // 3)):
        pairs = [[" ".join(rng.choices("abcdefghij", k=rng.randrange(1, 12))) for _ in "st"] for _ in range(count)]
        for index in range(0, count, 50):
            pairs[index] = rng.choice([["", "x"], ["a b", "x " * 300], ["a", " ".join("abcdefghij" * 2)], ["a b", "c"]])
        for side in (0, 1):
            (tmp_path / f"{corpus}.{side}").write_text("".join(pair[side] + "\n" for pair in pairs))
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


def content(cache: Path) -> dict[str, bytes]:
    """Read all files of a cache, and check that nothing else is left beside it."""
    assert not cache.with_name("cache.tmp").exists()
    files = {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    return {name: raw for name, raw in files.items() if name not in STAMPS}


def test_the_cache_does_not_depend_on_the_number_of_processes(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    caches = [tmp_path / str(count) / "cache" for count in (1, 2, 5)]
    for cache, count in zip(caches, (1, 2, 5), strict=True):
        data = prepare(config, (tokenizer, tokenizer), cache, num_workers=count)
    assert {"empty", "length_ratio", "too_long"} <= {pair.reason for pair in data.report.examples}
    first, *others = map(content, caches)
    assert all(other == first for other in others)
    assert not any("state" in name or "statuses" in name for name in first)


def killed_prepare(
    config: TranslationConfig, tokenizer: Tokenizer, cache: Path, kill: Callable[[], None], **settings: Any
) -> None:
    """Prepare until `kill`, which is called after each block, raises an exception."""
    with pytest.raises(Killed):
        prepare(config, (tokenizer, tokenizer), cache, lambda units, done, total: kill())


def test_a_build_interrupted_after_any_block_resumes(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(config, (tokenizer, tokenizer), tmp_path / "whole" / "cache")
    expected = content(tmp_path / "whole" / "cache")
    encoded = count_encoded(monkeypatch)
    blocks = -(-LINES // BLOCK) + -(-(LINES // 3) // BLOCK)
    for number in range(1, 2 * blocks + 1):
        cache = tmp_path / str(number) / "cache"
        calls = 0

        def kill(last: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise Killed

        killed_prepare(config, tokenizer, cache, kill)
        assert not cache.exists()
        state = cache.with_name("cache.tmp").glob("*/state.json")
        saved = sum(json.loads(path.read_text())["rows"] for path in state)
        encoded.clear()
        prepare(config, (tokenizer, tokenizer), cache)
        assert content(cache) == expected
        assert sum(encoded) == LINES + LINES // 3 - saved
        assert saved >= BLOCK * (number - blocks) - SAVE - BLOCK


def count_encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the sizes of all blocks encoded in this process."""
    from seqlab.data.row_encoder import RowEncoder

    sizes: list[int] = []
    encode = RowEncoder.__call__

    def counting(self: RowEncoder, task: Any) -> Any:
        sizes.append(len(task.block))
        return encode(self, task)

    monkeypatch.setattr(RowEncoder, "__call__", counting)
    return sizes


def half_done(config: TranslationConfig, tokenizer: Tokenizer, cache: Path) -> Path:
    """Interrupt a build halfway; return its folder."""

    def kill() -> None:
        if list(cache.with_name("cache.tmp").glob("encoded-*/state.json")):
            raise Killed

    killed_prepare(config, tokenizer, cache, kill)
    [building] = cache.with_name("cache.tmp").glob("encoded-*")
    return building


def test_a_damaged_state_of_an_interrupted_build_is_not_used(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    prepare(config, (tokenizer, tokenizer), tmp_path / "whole" / "cache")
    expected = content(tmp_path / "whole" / "cache")
    cache = tmp_path / "cache"
    workspace = half_done(config, tokenizer, cache).parent
    names = [path.relative_to(workspace) for path in workspace.rglob("*") if path.is_file()]
    assert len(names) > 20
    for name in names:
        for damaged in (None, b"x"):
            (workspace / name).unlink()
            if damaged is not None:
                (workspace / name).write_bytes(damaged)
            prepare(config, (tokenizer, tokenizer), cache)
            assert content(cache) == expected, name
            shutil.rmtree(cache)
            half_done(config, tokenizer, cache)


def test_other_text_or_options_start_a_new_build(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for name, change in (("max_length", 14), ("valid_max_pairs", 3), ("subword_sampling", 0.0)):
        changed = replace(config, **{name: change})
        prepare(changed, (tokenizer, tokenizer), tmp_path / name / "cache")
        half_done(config, tokenizer, tmp_path / "killed" / name / "cache")
        prepare(changed, (tokenizer, tokenizer), tmp_path / "killed" / name / "cache")
        assert content(tmp_path / "killed" / name / "cache") == content(tmp_path / name / "cache")
    half_done(config, tokenizer, tmp_path / "killed" / "text" / "cache")
    path = Path(config.train_src[0])
    path.write_text(path.read_text().replace("a", "b"))
    prepare(config, (tokenizer, tokenizer), tmp_path / "killed" / "text" / "cache")
    prepare(config, (tokenizer, tokenizer), tmp_path / "text" / "cache")
    assert content(tmp_path / "killed" / "text" / "cache") == content(tmp_path / "text" / "cache")


def test_an_interrupted_setup_trains_its_tokenizer_once(
    config: TranslationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(config, tokenizer=WordsConfig(), subword_sampling=0.0)
    learnt = learn_tokenizer(small, "both", tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr("seqlab.data.tokenizer_training.train_tokenizer", None)
        patch.setattr("seqlab.data.workspace.survey_corpus", None)
        again = learn_tokenizer(small, "both", tmp_path / "cache")
        assert again.tokens(range(again.vocab_size)) == learnt.tokens(range(learnt.vocab_size))
        # The corpora are not surveyed again.
        prepare(small, (again, again), tmp_path / "cache")
    assert not (tmp_path / "cache.tmp").exists()
    other = replace(small, tokenizer=WordsConfig(vocab_size=8))
    assert learn_tokenizer(other, "both", tmp_path / "cache").vocab_size == 8


def test_a_process_killed_at_random_times_resumes(
    config: TranslationConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    settings = TypeAdapter(TranslationConfig).dump_json(config).decode()

    def run(cache: Path, workers: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", PREPARE, settings, str(tmp_path / "tokenizer"), str(cache), str(workers)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    assert run(tmp_path / "whole" / "cache", 1).wait() == 0
    expected = content(tmp_path / "whole" / "cache")
    cache = tmp_path / "killed" / "cache"
    for workers in (1, 2, 2):
        process = run(cache, workers)
        wanted = rng.randrange(5)
        states: set[bytes] = set()
        while process.poll() is None and len(states) <= wanted:
            for path in cache.with_name("cache.tmp").glob("*/state.json"):
                states |= read_if_there(path)
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run(cache, 2).wait() == 0
    assert content(cache) == expected


def read_if_there(path: Path) -> set[bytes]:
    try:
        return {path.read_bytes()}
    except OSError:
        return set()
