"""Notebooks: complete runs with small settings, their claims, and their stored outputs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "notebooks"
SMALL_SETTINGS: dict[str, dict[str, Any]] = {
    "why_gates": {"lags": (10, 20), "training_steps": 150},
    "what_a_perplexity_means": {
        "max_lines": 1500,
        "subword_sizes": (500, 1000),
        "word_sizes": (10, 100),
        "part_lines": 200,
    },
    "attention_as_alignment": {
        "seeds": (1, 2),
        "variants": {"guided": {"guided_attention": 0.3}, "guided too much": {"guided_attention": 1.0}},
    },
    "exposure_bias_and_scheduled_sampling": {"seeds": (2,)},
    "what_parallel_decoding_loses": {
        "training_steps": 400,
        "train_lines": 8000,
        "test_lines": 200,
        "max_phrases": 3,
        "num_layers": 1,
    },
}
SMALL_SETTINGS |= {
    "why_cross_entropy": {"seeds": (1, 2)},
    "small_and_large_batches": {"seeds": (1,), "epochs": 10, "draws": 30},
    "what_convolution_assumes": {"training_steps": 100, "train_sizes": (50, 200), "seeds": (1,), "gaps": (2, 16)},
    "saddle_points_found_and_left": {"distances": (1e-1, 1e-2, 1e-3), "descent_steps": 100},
    "generative_against_discriminative": {"sizes": (20, 80, 1280), "test_examples": 2000, "digit_repetitions": 2},
    "from_a_spectrogram_to_words": {"training_steps": 450, "noise_levels": (20, 5, 0)},
    "five_estimates_of_one_gradient": {"batches": 40, "training_steps": 20, "seeds": (2,)},
    "why_a_model_does_not_learn": {"factors": (1, 30, 300), "minutes": 0.3},
    "from_cross_entropy_to_reward": {"repetitions": 40, "training_steps": 150, "seeds": (1, 2), "penalties": (0.1,)},
}
MAX_BYTES = 400_000
"""Maximum size of a notebook with its figures; the repository stores every version."""


def code_cells(name: str) -> list[dict[str, Any]]:
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder with matplotlib's Agg backend; restore all settings at the end."""
    import matplotlib

    monkeypatch.chdir(tmp_path)
    threads, backend = torch.get_num_threads(), matplotlib.get_backend()
    matplotlib.use("Agg")
    with matplotlib.rc_context():
        yield tmp_path
    matplotlib.pyplot.close("all")
    matplotlib.use(backend)
    torch.set_num_threads(threads)


def run_notebook(name: str) -> dict[str, Any]:
    """Execute the cells in one namespace, and replace the values of the cell `parameters` by small settings."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in code_cells(name):
        exec(compile("".join(cell["source"]), f"{name}.ipynb, cell {cell['id']}", "exec"), namespace)
        if cell["id"] == "parameters":
            assert SMALL_SETTINGS[name].keys() <= namespace.keys()
            namespace.update(SMALL_SETTINGS[name])
    return namespace


def test_all_notebooks_have_small_settings_parameters_and_claims() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == SMALL_SETTINGS.keys()
    for name in SMALL_SETTINGS:
        ids = [cell["id"] for cell in code_cells(name)]
        assert ids[0] == "parameters"
        assert ids[-1] == "claims"


@pytest.mark.learning
def test_why_gates(working_folder: Path) -> None:
    found = run_notebook("why_gates")
    assert found["flows"]["LSTM, bias 1"][50] > found["flows"]["RNN, uniform"][50]
    assert not list(working_folder.iterdir())


@pytest.mark.learning
@pytest.mark.parametrize("is_generated", [True, False], ids=["generated text", "text of $SEQLAB_DATA"])
def test_what_a_perplexity_means(is_generated: bool, working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_generated:
        monkeypatch.delenv("SEQLAB_DATA", raising=False)
    found = run_notebook("what_a_perplexity_means")
    assert found["cheap"]["10"] < found["cheap"]["all"]
    assert not found["folder"].exists()
    assert not list(working_folder.iterdir())


@pytest.mark.learning
def test_attention_as_alignment(working_folder: Path) -> None:
    found = run_notebook("attention_as_alignment")
    assert len(found["alignments"]["guided too much"]) < len(found["alignments"]["guided"])
    assert not found["folder"].exists()
    assert not list(working_folder.iterdir())


@pytest.mark.learning
def test_exposure_bias_and_scheduled_sampling(working_folder: Path) -> None:
    found = run_notebook("exposure_bias_and_scheduled_sampling")
    assert found["figures"]["own"]["scheduled sampling"] > found["figures"]["own"]["teacher forcing"]
    assert not found["folder"].exists()
    assert not list(working_folder.iterdir())


@pytest.mark.learning
def test_what_parallel_decoding_loses(working_folder: Path) -> None:
    found = run_notebook("what_parallel_decoding_loses")
    assert found["results"]["all at once, distilled"]["repeats"] < found["results"]["all at once"]["repeats"]
    assert not found["folder"].exists()
    assert not list(working_folder.iterdir())


@pytest.mark.learning
def test_from_a_spectrogram_to_words(working_folder: Path) -> None:
    pytest.importorskip("soundfile")
    found = run_notebook("from_a_spectrogram_to_words")
    assert found["by_both"][0] < 10
    assert not found["folder"].exists()
    assert not list(working_folder.iterdir())


@pytest.mark.learning
def test_from_cross_entropy_to_reward(working_folder: Path) -> None:
    variables = run_notebook("from_cross_entropy_to_reward")
    assert variables["rewards"].max() > variables["scores"]["like the references"][1]
    assert variables["variances"]["total", "moving_mean", 8] < variables["variances"]["total", "none", 8]
    assert not list(working_folder.iterdir())


@pytest.mark.learning
def test_five_estimates_of_one_gradient(working_folder: Path) -> None:
    variables = run_notebook("five_estimates_of_one_gradient")
    assert all(len(curve) == variables["training_steps"] for curve in variables["returns"].values())
    assert not variables["folder"].exists()
    assert not list(working_folder.iterdir())


@pytest.mark.learning
def test_why_a_model_does_not_learn(working_folder: Path) -> None:
    pytest.importorskip("sklearn")
    variables = run_notebook("why_a_model_does_not_learn")
    assert variables["results"]["with the missing label"][2] > 97
    assert not variables["folder"].exists()
    assert not list(working_folder.iterdir())


@pytest.mark.learning
@pytest.mark.parametrize(
    "name",
    [
        "why_cross_entropy",
        "small_and_large_batches",
        "saddle_points_found_and_left",
        "what_convolution_assumes",
        "generative_against_discriminative",
    ],
)
def test_notebooks_about_images(name: str, working_folder: Path) -> None:
    pytest.importorskip("sklearn")
    run_notebook(name)
    assert not list(working_folder.iterdir())


@pytest.mark.parametrize("name", SMALL_SETTINGS)
def test_stored_outputs_are_from_one_complete_run(name: str) -> None:
    cells = code_cells(name)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MAX_BYTES
