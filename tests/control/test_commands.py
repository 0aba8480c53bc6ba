"""The control task on the command line: zero config, training, plugins, resume, errors, and `seqlab play`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from reference.toy_environments import Odd

import seqlab
from seqlab.base.world import World
from seqlab.cli.main import main
from seqlab.tasks.control.task import ControlTask

QUICK = "--training.max_steps 1 --data.episodes_per_step 2 --data.valid_episodes 2"
Capture = pytest.CaptureFixture[str]


def train(line: str, run: Path, kind: str = "control") -> int:
    words = [word.replace("_SPACE_", " ") for word in f"{QUICK} {line}".split()]
    return main(["train", "--data.kind", kind, "--run_dir", str(run), *words])


def odd(**options: str) -> str:
    """Return the options of a run of the odd environment."""
    values = " ".join(f"{name}={value.replace(' ', '_SPACE_')}" for name, value in options.items())
    return f"--data.environment Odd-v0 {f'--data.options {values}' if values else ''}"


def config_of(run: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    return config


@pytest.mark.parametrize(
    ("options", "model", "objective"),
    [
        (odd(), "predictor", "episode_policy_gradient"),
        (odd(observation="discrete"), "table", "q_learning"),
        (odd(observation="image"), "cnn", "episode_policy_gradient"),
        (odd(observation="dict"), "predictor", "episode_policy_gradient"),
        (odd(action="box") + " --objective.passes 2", "predictor", "ddpg"),
        (odd(observation="discrete") + " --data.window 2", "predictor", "episode_policy_gradient"),
    ],
)
def test_zero_config_fits_the_spaces(options: str, model: str, objective: str, tmp_path: Path) -> None:
    assert train(options, tmp_path / "run") == 0
    config = config_of(tmp_path / "run")
    assert (config["model"]["family"], config["objective"]["family"]) == (model, objective)


def test_zero_config_for_given_families(tmp_path: Path) -> None:
    assert train("--data.environment Toy-v0 --objective.family td", tmp_path / "td") == 0
    assert config_of(tmp_path / "td")["training"]["valid_metric"] == "nll"
    assert train(odd() + " --objective.baseline none", tmp_path / "plain") == 0
    assert config_of(tmp_path / "plain")["objective"]["trace_decay"] == 1


def test_zero_config_of_a_policy_chooses_small_layers(tmp_path: Path) -> None:
    assert train(odd(), tmp_path / "run") == 0
    encoder = config_of(tmp_path / "run")["model"]["encoder"]
    assert (encoder["hidden_sizes"], encoder["activation"]) == ([64, 64], "tanh")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data.environment Cartpole-v1", "Did you mean: `CartPole`?"),
        ("--data.environment Endless-v0", "An episode of Endless-v0 may never end: set `data.max_episode_steps`."),
        ("--data.environment FrozenLake-v1 --data.options is_slipery=false", "is_slipery"),
        ("--data.environment FrozenLake-v1 --data.options map_name=9x9", "`data.options` map_name=9x9 cannot be made"),
        (odd(speed="2"), "speed"),
        ("--data.environment Toy-v0 --data.options cyclic", "must be of the form NAME=VALUE"),
        ("--data.environment Toy-v0 --data.options max_episode_steps=5", "`data.max_episode_steps`"),
        ("--data.environment Toy-v0 --data.options render_mode=human", "`seqlab play"),
        (odd(fault="made"), "cannot be made: RuntimeError: no license"),
        (odd(fault="reset"), "Odd-v0 could not start an episode (seed "),
        (odd(fault="step"), "Odd-v0 failed in step 3 of an episode: ZeroDivisionError: division by zero"),
        (odd(fault="reward NaN"), "in step 1 of an episode: ValueError: the reward is nan"),
        (odd(fault="reward too large"), "the reward is 1e+39"),
        (odd(fault="no reward"), "failed in step 1 of an episode: TypeError"),
        (odd(fault="observation NaN"), "in step 1 of an episode: ValueError: the observation is not finite"),
        (odd(fault="first observation NaN"), "could not start an episode"),
        (odd(fault="shape"), "the observation has shape (5,) instead of (3,)"),
        (odd(fault="old interface"), "not enough values to unpack"),
        (odd(observation="sequence"), "Observations of Odd-v0 (Sequence(Discrete(3), stack=False)) are not supported"),
        (odd(observation="no values"), "they have no values"),
        *((odd(action=name), "must be discrete (Discrete)") for name in ("multi-binary", "unbounded", "empty range")),
        (odd(action="integers"), "must be discrete (Discrete)"),
        (odd() + " --model.family table", "`model.family: table` needs single observations"),
        (odd() + " --model.family gaussian_classifier", "is trained on `data.kind: prediction`"),
        (odd() + " --objective.family ddpg", "needs continuous actions: `episode_policy_gradient` supports both"),
        ("--data.environment FrozenLake-v1 --data.options is_slippery=true is_slippery=false", "use it once"),
        (odd(action="box") + " --objective.family sarsa", "needs discrete actions: `episode_policy_gradient`"),
        (odd(observation="image", action="box"), "needs observations of numbers, not images"),
        (odd() + " --objective.family cross_entropy", "like `ddpg`, not by `cross_entropy`"),
        (odd() + " --objective.family policy_gradient", "choose episode_policy_gradient or q_learning or sarsa"),
        (odd() + " --training.valid_metric bleu", "choose nll or return"),
        (odd() + " --objective.baseline none --objective.trace_decay 0.5", "needs `baseline: critic`"),
        (odd() + " --objective.returns total --objective.trace_decay 0.5", "needs `returns: to_go`"),
        ("--data.environment FrozenLake-v1 --data.max_episode_steps 0", "must be at least 1, but is 0"),
    ],
)
def test_errors_name_what_is_wrong(options: str, message: str, tmp_path: Path, capsys: Capture) -> None:
    assert train(options, tmp_path / "run") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("seqlab: error: ")
    assert message in error


def test_other_episodes_need_others(tmp_path: Path, capsys: Capture) -> None:
    options = odd() + " --objective.baseline other_episodes"
    words = ["train", "--data.kind", "control", "--run_dir", str(tmp_path), *options.split()]
    assert main([*words, "--data.episodes_per_step", "1", "--training.max_steps", "1"]) == 2
    assert "needs one process and at least 2 `data.episodes_per_step`" in capsys.readouterr().err


def test_a_missing_extra_is_named(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    assert train("--data.environment CartPole-v1", tmp_path / "run") == 2
    assert "pip install 'seqlab[control]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("objective", "ranks", "fits"), [("q_learning", 2, False), ("sarsa", 2, True), ("sarsa", 3, False)]
)
def test_several_processes(objective: str, ranks: int, fits: bool, tmp_path: Path) -> None:
    assert train(f"--data.environment Toy-v0 --objective.family {objective}", tmp_path / "run") == 0
    config = seqlab.load(tmp_path / "run").run.config
    codecs = seqlab.load(tmp_path / "run").run.codecs
    data = ControlTask().prepare(config, codecs, tmp_path, None)
    steps = [
        ControlTask().steps(data, config, codecs, World(rank=rank, world_size=ranks), None) for rank in range(ranks)
    ]
    if fits:
        for number in range(3):
            played = [index for each in steps for index in next(each).micro_steps[0].indices.tolist()]
            assert played == [2 * number, 2 * number + 1]
    else:
        with pytest.raises(ValueError, match="one replay buffer" if objective == "q_learning" else "at least 3"):
            next(steps[0])


def test_an_environment_that_does_not_repeat_itself(tmp_path: Path, capsys: Capture) -> None:
    options = odd(fault="unseeded")
    assert train(options, tmp_path / "run") == 0
    assert "Odd-v0 does not repeat itself: this training cannot be repeated or resumed" in capsys.readouterr().err
    assert not json.loads((tmp_path / "run" / "run.json").read_text())["data"]["is_repeatable"]
    assert main(["train", "--run_dir", str(tmp_path / "run"), *options.split(), "--training.max_steps", "2"]) == 2
    assert "do not resume, use `--init_from`" in capsys.readouterr().err
    assert train(options + f" --init_from {tmp_path / 'run'}", tmp_path / "next") == 0


def test_an_environment_that_has_changed_is_not_resumed(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gymnasium import spaces

    assert train(odd(), tmp_path / "run") == 0
    monkeypatch.setitem(sys.modules["reference.toy_environments"].OBSERVATIONS, "box", spaces.Box(-1, 1, (4,)))
    assert main(["train", "--run_dir", str(tmp_path / "run"), *odd().split(), "--training.max_steps", "2"]) == 2
    assert "Odd-v0 has other observations or actions than when the run was set up" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short run in the odd environment."""
    folder = tmp_path_factory.mktemp("played") / "run"
    assert train(odd(), folder) == 0
    return folder


def test_play_prints_returns(run: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["play", str(run), "--episodes", "3", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["episode"] for row in rows] == [0, 1, 2]
    assert main(["play", str(run), "--episodes", "3", "--output", str(tmp_path / "out")]) == 0
    *lines, mean = (tmp_path / "out").read_text().splitlines()
    assert lines == [f"episode {i}: return {row['return']:g}, {row['length']} steps" for i, row in enumerate(rows)]
    assert mean == f"mean return {sum(row['return'] for row in rows) / 3:.2f}"


def test_played_episodes_depend_on_the_seed_only(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = seqlab.load(run)
    played = agent.play(5, seed=3)
    monkeypatch.setattr("seqlab.tasks.control.agent.EPISODES_AT_ONCE", 2)
    assert seqlab.load(run).play(5, seed=3) == played == agent.play(6, seed=3)[:5]
    assert agent.play(5, seed=4) != played


def test_actions_of_an_agent_have_the_largest_output(run: Path) -> None:
    agent = seqlab.load(run)
    observations = np.random.default_rng(1).normal(size=(20, 1, 3))
    assert agent.values(observations).shape == (20, 3)
    first = int(Odd().action_space.start)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(agent.act(observations), agent.values(observations).argmax(1) + first)


@pytest.mark.parametrize("observations", [np.zeros(3), np.zeros((2, 3)), np.full((2, 1, 3), np.nan)])
def test_observations_of_another_shape_or_that_are_not_finite_are_refused(run: Path, observations: Any) -> None:
    with pytest.raises(ValueError, match=r"`observations` must be finite, of shape \(B, \*\(1, 3\)\)"):
        seqlab.load(run).act(observations)


def test_an_agent_scales_bytes_of_images(tmp_path: Path) -> None:
    assert train(odd(observation="image"), tmp_path / "run") == 0
    agent = seqlab.load(tmp_path / "run")
    shape = (4, *agent.observations.shape)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(agent.values(pixels), agent.values(pixels / np.float32(255)))


def test_a_run_with_values_of_random_actions_chooses_none(tmp_path: Path, capsys: Capture) -> None:
    assert train(odd() + " --objective.family td", tmp_path / "run") == 0
    with pytest.raises(ValueError, match="has learned the values of random actions"):
        seqlab.load(tmp_path / "run").act(np.zeros((1, 1, 3)))
    assert main(["play", str(tmp_path / "run")]) == 0
    assert "the episodes are random, too" in capsys.readouterr().err


def test_frames_of_an_environment_that_does_not_repeat_itself_are_of_another_episode(
    tmp_path: Path, capsys: Capture
) -> None:
    assert train(odd(fault="unseeded"), tmp_path / "run") == 0
    assert main(["play", str(tmp_path / "run"), "--frames", str(tmp_path / "frames")]) == 0
    assert "the frames are not those of the first episode" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(0, 1), (1, -1)])
def test_impossible_numbers_of_episodes_are_refused(run: Path, arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="`episodes` must be at least 1 and `seed` at least 0"):
        seqlab.load(run).play(arguments[0], seed=arguments[1])


def test_frames(run: Path, tmp_path: Path) -> None:
    assert main(["play", str(run), "--frames", str(tmp_path / "a.gif"), "--output", str(tmp_path / "out")]) == 0
    assert main(["play", str(run), "--frames", str(tmp_path / "pngs"), "--output", str(tmp_path / "out")]) == 0
    files = sorted((tmp_path / "pngs").iterdir())
    assert [file.name for file in files] == [f"{number:05d}.png" for number in range(6)]  # five steps
    for number, file in enumerate(files):
        pixels = np.asarray(Image.open(file))
        assert pixels.shape == (8, 6, 3)
        assert (pixels == number).all()
    with Image.open(tmp_path / "a.gif") as image:
        assert getattr(image, "n_frames", 1) == 6


@pytest.mark.parametrize(
    ("fault", "message"),
    [("render", "Odd-v0 cannot draw frames: RuntimeError: no display"), ("no frame", "Odd-v0 cannot draw frames")],
)
def test_frames_that_cannot_be_drawn(fault: str, message: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    agent = seqlab.load(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Odd, "render", lambda self: None if fault == "no frame" else _raise(RuntimeError("no display")))
        with pytest.raises(ValueError, match=re.escape(message)):
            list(agent.frames())


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frames", "x.mp4"], "must end in .gif, or be a folder without a dot"),
        (["--frames", "nowhere/a.gif"], "There is no folder nowhere"),
        (["--frames", "{run}"], "is not an empty folder"),
        (["--episodes", "0"], "must be at least 1"),
        (["--seed", "-1"], "must be at least 0"),
        (["{run}"], "Agents cannot form an ensemble"),
        (["--checkpoint", "7"], "must be `best`, `last` or one of"),
    ],
)
def test_errors_of_play(words: list[str], message: str, run: Path, capsys: Capture) -> None:
    assert main(["play", str(run), *(word.format(run=run) for word in words)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_frames_need_an_environment_that_draws(tmp_path: Path) -> None:
    assert train("--data.environment Toy-v0", tmp_path / "run") == 0
    with pytest.raises(ValueError, match=r"`data\.environment: Toy-v0` cannot draw frames"):
        list(seqlab.load(tmp_path / "run").frames())


PLUGIN = """
import gymnasium

class Corridor(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(3)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.place = 1
        return self.place, {}

    def step(self, action):
        self.place += 2 * action - 1
        return self.place, float(self.place == 2), self.place != 1, False, {}

gymnasium.register("Corridor-v0", Corridor, max_episode_steps=5)
"""


def test_an_environment_of_a_plugin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plugin, run = tmp_path / "corridor.py", str(tmp_path / "run")
    plugin.write_text(PLUGIN)
    words = ["--data.environment", "Corridor-v0", "--training.max_steps", "30", "--data.valid_episodes", "2"]
    assert main(["train", *words, "--run_dir", run, "--plugin", str(plugin)]) == 0
    assert main(["play", run, "--plugin", str(plugin)]) == 0
    assert capfd.readouterr().out.splitlines()[0] == "episode 0: return 1, 1 steps"


def test_a_warm_start_trains_in_the_environment_of_its_own_config(tmp_path: Path) -> None:
    """Not in that of the run whose weights it takes over."""
    options = "--data.environment FrozenLake-v1 --data.options"
    assert train(f"{options} is_slippery=false", tmp_path / "start") == 0
    settings = f"{options} is_slippery=true --data.max_episode_steps 33 --init_from {tmp_path / 'start'}"
    assert train(settings, tmp_path / "run") == 0
    spec = seqlab.load(tmp_path / "run").observations.environment
    assert (spec.options, spec.max_episode_steps) == (["is_slippery=true"], 33)


def test_a_warm_start_from_values_of_states_is_refused_for_a_policy(tmp_path: Path, capsys: Capture) -> None:
    assert train("--data.environment Toy-v0 --objective.family td --model.family mlp", tmp_path / "start") == 0
    policy = "--data.environment Toy-v0 --objective.family episode_policy_gradient --model.family mlp"
    assert train(f"{policy} --init_from {tmp_path / 'start'}", tmp_path / "run") == 2
    assert "`head.project.bias` is (1,) in the checkpoint but (2,)" in capsys.readouterr().err
