"""A search of a plugin, written as for version 0.3.0: named by `algorithm`, with the same options as built-in ones."""

import json
from pathlib import Path

import pytest

from .conftest import PLUGIN_OPTION, PLUGIN_PATH, run_commands, run_script, write_config

PLUGIN = '''
"""A greedy search, for any `beam_size`."""

from dataclasses import replace

import seqlab
from seqlab.search import BeamSearch, Hypothesis, SearchConfig, SearchRequest


@seqlab.register("search", "quick")
class Quick:
    """greedy search"""

    def fits(self, model: object) -> bool:
        return BeamSearch().fits(model)

    def __call__(self, model: object, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        return BeamSearch()(model, replace(config, beam_size=1), request)


@seqlab.register("search", "none")
class NoModel:
    """a search for other models"""

    def fits(self, model: object) -> bool:
        return False

    def __call__(self, model: object, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        raise NotImplementedError
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "quick_search.py"
    path.write_text(PLUGIN, "utf-8")
    return path


def test_a_search_decodes_when_it_is_named(trained: Path, corpus: Path, plugin: Path) -> None:
    source = ["--input", corpus / "train.en", "--max_length", "8", *PLUGIN_OPTION]
    translate = ["translate", trained, *source, "--beam_size", "4"]
    greedy, beam, named, default, unknown, unfit, refused = run_commands(
        [
            ["translate", trained, *source, "--beam_size", "1", "--json"],
            [*translate, "--json"],
            [*translate, "--algorithm", "quick", "--json", "--plugin", plugin],
            [*translate, "--json", "--plugin", plugin],
            [*translate, "--algorithm", "slow", "--plugin", plugin],
            [*translate, "--algorithm", "none", "--plugin", plugin],
            [*translate, "--algorithm", "quick", "--iterations", "2", "--plugin", plugin],
        ]
    )
    assert [done.status for done in (greedy, beam, named, default)] == [0, 0, 0, 0], named.err
    assert named.out == greedy.out != beam.out
    assert default.out == beam.out
    assert unknown.status == 2
    assert "`--algorithm` must be one of mask_predict, ctc, beam, quick, none, but is `slow`" in unknown.err
    assert "`algorithm: none` calls methods that ConvolutionalTranslator does not have" in unfit.err
    assert "`iterations` is for mask-predict with non-autoregressive models" in refused.err

    script = f"""
import json, seqlab
run = seqlab.load({str(trained)!r}, plugins=["seqlab_outside.table", {str(plugin)!r}])
lines = open({str(corpus / "train.en")!r}).read().splitlines()
print(json.dumps(run.translate(lines, algorithm="quick", beam_size=4, max_length=8)))
"""
    texts = [json.loads(line)["hypotheses"][0]["text"] for line in greedy.out.splitlines()]
    assert json.loads(run_script(script, PLUGIN_PATH)) == texts


def test_a_config_names_the_search_of_validation(corpus: Path, plugin: Path, tmp_path: Path) -> None:
    search = {"algorithm": "quick", "beam_size": 2, "max_length": 8}
    config = write_config(tmp_path / "quick.yaml", corpus, training={"valid_search": search, "max_steps": 4})
    run = tmp_path / "run"
    train = ["train", config, "--run_dir", run, *PLUGIN_OPTION]
    without, done, info = run_commands([train, [*train, "--plugin", plugin], ["info", run, *PLUGIN_OPTION]])
    assert without.status == 2
    assert "`algorithm` must be one of mask_predict, ctc, beam, but is `quick`" in without.err
    assert done.status == 0, done.err
    plugins = json.loads((run / "run.json").read_text("utf-8"))["plugins"]
    assert ("search", "quick", "quick_search") in {(each["kind"], each["name"], each["module"]) for each in plugins}
    assert info.status == 0, info.err
    assert 'training.valid_search.algorithm: "quick"' in info.out
