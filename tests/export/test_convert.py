"""Export to CTranslate2: parity for all Transformer configs, the exported folder, and refused exports."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
import torch

import seqlab
from seqlab.data.batch import collate
from seqlab.export import CTranslate2Engine, export_run, specification
from seqlab.export.parity import compare_engines
from seqlab.export.specification import distinct_tokens, refuse_unsupported_fields
from seqlab.inference.torch_engine import TorchEngine
from seqlab.models import TransformerConfig
from seqlab.runs import load_run
from seqlab.search.config import OutputLimits
from seqlab.search.hypothesis import Hypothesis
from seqlab.text import Tokenizer

from .conftest import LINES, SIZES

ARCHITECTURES = [
    {"norm": norm, "activation": activation, "positions": positions, "tied_embeddings": tied}
    for norm, activation, positions, tied in [
        ("pre", "relu", "sinusoidal", "all"),
        ("pre", "gelu", "learned", "decoder"),
        ("pre", "swiglu", "rotary", "none"),
        ("post", "relu", "rotary", "all"),
        ("post", "gelu", "sinusoidal", "none"),
        ("post", "swiglu", "learned", "decoder"),
    ]
]


@pytest.mark.parametrize("fields", ARCHITECTURES, ids=lambda fields: "-".join(fields.values()))
def test_scores_of_ctranslate2_equal_the_run(make_run: Callable[..., Path], fields: dict[str, str]) -> None:
    run_dir = make_run(**fields)
    folder = export_run(run_dir)
    member = load_run(run_dir)
    src_rows, tgt_rows = member.src_tokenizer.encode(LINES[:8]), member.tgt_tokenizer.encode(LINES[3:11])
    token_names = [distinct_tokens(tokenizer) for tokenizer in (member.src_tokenizer, member.tgt_tokenizer)]
    translator = ctranslate2.Translator(str(folder))
    found = translator.score_batch(
        [[token_names[0][i] for i in row] for row in src_rows], [[token_names[1][i] for i in row] for row in tgt_rows]
    )
    batch = collate(src_rows, tgt_rows, range(len(src_rows)), pad_id=0, bos_id=1, eos_id=2)
    with torch.inference_mode():
        expected = member.model.score(batch).tolist()
    for scored, row, ids in zip(found, expected, tgt_rows, strict=True):
        assert scored.log_probs == pytest.approx(row[: len(ids) + 1], abs=1e-4)


def test_contents_of_the_exported_folder(make_run: Callable[..., Path]) -> None:
    run_dir = make_run(steps=(1, 7))
    folder = export_run(run_dir, checkpoint="1", quantization="int8")
    assert folder == run_dir / "export" / "ctranslate2-int8"
    assert {path.name for path in folder.iterdir()} == {
        *("model.bin", "config.json", "shared_vocabulary.json", "tokenizer", "seqlab.json")
    }
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no temporary files
    description = json.loads((folder / "seqlab.json").read_text())
    assert description["origin"]["step"] == 1
    assert description["origin"]["quantization"] == "int8"
    assert description["seqlab_version"] == seqlab.__version__
    assert description["check"]["lines"] == 12
    exact = export_run(run_dir, run_dir / "exact")
    assert (folder / "model.bin").stat().st_size < 0.5 * (exact / "model.bin").stat().st_size


def damage_weights(patch: pytest.MonkeyPatch) -> None:
    """Change a bias in the export: scores and search results differ."""
    original = specification.make_specification

    def damaged(model: torch.nn.Module, *tokenizers: Tokenizer) -> object:
        model_spec = original(model, *tokenizers)  # type: ignore[arg-type]
        model_spec.decoder.layer[1].ffn.linear_0.bias = model_spec.decoder.layer[1].ffn.linear_0.bias + 0.5
        return model_spec

    patch.setattr(specification, "make_specification", damaged)


def damage_search(patch: pytest.MonkeyPatch) -> None:
    """Drop the last token of hypotheses: scores of given pairs are still equal."""
    original = CTranslate2Engine.decode

    def damaged(*arguments: Any, **options: Any) -> list[list[Hypothesis]]:
        found = original(*arguments, **options)
        return [[replace(hypothesis, ids=hypothesis.ids[:-1]) for hypothesis in best] for best in found]

    patch.setattr(CTranslate2Engine, "decode", damaged)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(damage_weights, r"up to 0\.\d\d nats per token.*98% of the"), (damage_search, r"0\.0% \(greedy\)")],
)
def test_exports_with_different_outputs_are_refused(
    make_run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[pytest.MonkeyPatch], None],
    message: str,
) -> None:
    run_dir = make_run()
    with monkeypatch.context() as patch:
        damage(patch)
        with pytest.raises(ValueError, match=f"the outputs of CTranslate2 differ from those of .*{message}"):
            export_run(run_dir)
        assert list((run_dir / "export").iterdir()) == []
    folder = export_run(run_dir)
    before = (folder / "model.bin").read_bytes()
    damage(monkeypatch)
    with pytest.raises(ValueError, match="the outputs of CTranslate2 differ"):
        export_run(run_dir, overwrite=True)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "model.bin").read_bytes() == before


def test_chrf_of_identical_short_translations_is_100(make_run: Callable[..., Path]) -> None:
    member = load_run(make_run())
    engine = TorchEngine([member], torch.device("cpu"), torch.float32)
    parity = compare_engines(
        engine, engine, member.src_tokenizer.encode(LINES[:3]), None, member.tgt_tokenizer, limits=OutputLimits(4)
    )
    assert (parity.is_exact, parity.identical_beam, parity.chrf_beam) == (True, 1.0, pytest.approx(100.0))


def test_differences_of_int8_are_reported(make_run: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "seqlab"):
        export_run(make_run(), quantization="int8")
    exact, rounded = [record.getMessage() for record in caplog.records]
    assert exact.startswith("fp32: 12 lines")
    assert rounded.startswith("int8: 12 lines")
    assert "chrF between the two" in rounded


def test_foreign_files_are_kept_and_old_temporary_folders_removed(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run_dir = make_run()
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("keep me")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=f"{foreign}"):
            export_run(run_dir, foreign, overwrite=overwrite)
    assert (foreign / "notes.txt").read_text() == "keep me"
    folder = export_run(run_dir, tmp_path / "out")
    with pytest.raises(ValueError, match="add `--overwrite`"):
        export_run(run_dir, folder)
    old_temporary, recent_temporary = tmp_path / "out.1.tmp", tmp_path / "out.2.tmp"
    old_temporary.mkdir()
    recent_temporary.mkdir()
    os.utime(old_temporary, (0, 0))
    assert export_run(run_dir, folder, overwrite=True) == folder
    assert (old_temporary.exists(), recent_temporary.exists()) == (False, True)


def test_the_parity_check_needs_lines(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run()
    shutil.rmtree(run_dir / "cache")
    with pytest.raises(ValueError, match="`--check`"):
        export_run(run_dir)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    with pytest.raises(ValueError, match="cannot be checked"):
        export_run(run_dir, check=empty)
    with pytest.raises(ValueError, match="`quantization` must be one of float32"):
        export_run(run_dir, quantization="int7")
    assert not (run_dir / "export").exists()
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"{line}\n" for line in LINES[:5]) + "\n")
    folder = export_run(run_dir, check=lines)
    assert json.loads((folder / "seqlab.json").read_text())["check"]["lines"] == 5


def test_unsupported_fields_are_refused() -> None:
    exported_fields = specification.EXPORTED_FIELDS
    refuse_unsupported_fields(TransformerConfig(**SIZES))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specification, "EXPORTED_FIELDS", exported_fields - {"norm"})
        with pytest.raises(ValueError, match=r"`model\.norm: post` cannot be exported"):
            refuse_unsupported_fields(TransformerConfig(**SIZES, norm="post"))  # type: ignore[arg-type]
    only_as_default = {"copying", "tags", "rotary_cross_attention"}
    assert {field.name for field in fields(TransformerConfig)} - exported_fields == only_as_default


def test_token_names_are_distinct(tokenizers: tuple[Tokenizer, Tokenizer]) -> None:
    for tokenizer in tokenizers:
        token_names = distinct_tokens(tokenizer)
        assert len(set(token_names)) == tokenizer.vocab_size
        assert token_names[:4] == ["<pad>", "<s>", "</s>", "<unk>"]
    words = tokenizers[1]
    (ids,) = words.encode(["</s> dog"])
    assert distinct_tokens(words)[ids[0]].startswith("</s>#")
    assert distinct_tokens(words)[ids[1]] == "dog"
