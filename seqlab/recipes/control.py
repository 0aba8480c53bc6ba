"""Agents for five environments of gymnasium, whose episodes are the training data."""

from pathlib import Path

from seqlab.models import EncoderPredictorConfig, MlpEncoderConfig
from seqlab.models.table import TableConfig
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.control.config import ControlConfig
from seqlab.tasks.control.ddpg import DdpgConfig
from seqlab.tasks.control.episode_policy_gradient import EpisodePolicyGradientConfig
from seqlab.tasks.control.values import QLearningConfig


def _optim(lr: float) -> OptimConfig:
    return OptimConfig(optimizer=AdamConfig(lr=lr), schedule=LinearScheduleConfig(warmup_steps=1))


def _training(steps: int) -> TrainingConfig:
    every = max(1, steps // 20)
    return TrainingConfig(max_steps=steps, log_every=every, save_every=every, valid_every=every, precision="fp32")


def cartpole(run_dir: str | Path) -> Config:
    """CartPole-v1, a pole to balance on a cart: policy gradient with a critic as baseline."""
    return Config(
        data=ControlConfig(environment="CartPole-v1"),
        model=EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(64, 64), activation="tanh")),
        objective=EpisodePolicyGradientConfig(),
        optim=_optim(3e-3),
        training=_training(200),
    )


def frozen_lake(run_dir: str | Path) -> Config:
    """FrozenLake-v1, a path over slippery ice: Q-learning with a table."""
    return Config(
        data=ControlConfig(environment="FrozenLake-v1", episodes_per_step=16, valid_episodes=200),
        model=TableConfig(),
        objective=QLearningConfig(target_decay=0.0, replay_size=200_000, batch_transitions=256, epsilon_end=0.1),
        optim=_optim(0.02),
        training=_training(1000),
    )


def cliff_walking(run_dir: str | Path) -> Config:
    """CliffWalking-v1, a path along a cliff: Q-learning with a table."""
    return Config(
        data=ControlConfig(environment="CliffWalking-v1", max_episode_steps=500, episodes_per_step=1, valid_episodes=1),
        model=TableConfig(),
        objective=QLearningConfig(target_decay=0.0, discount=1.0, epsilon_start=0.1, epsilon_end=0.1, passes=16),
        optim=_optim(0.5),
        training=_training(1000),
    )


def acrobot(run_dir: str | Path) -> Config:
    """Acrobot-v1, a double pendulum to swing up: PPO."""
    return Config(
        data=ControlConfig(environment="Acrobot-v1"),
        model=EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(64, 64), activation="tanh")),
        objective=EpisodePolicyGradientConfig(passes=10, trace_decay=0.95, entropy=0.01),
        optim=_optim(3e-3),
        training=_training(100),
    )


def pendulum(run_dir: str | Path) -> Config:
    """Pendulum-v1, a pendulum to swing up with a limited torque: DDPG."""
    return Config(
        data=ControlConfig(environment="Pendulum-v1", episodes_per_step=1),
        model=EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(128, 128))),
        objective=DdpgConfig(passes=200),
        optim=_optim(1e-3),
        training=_training(80),
    )


CONTROL_RECIPES = (cartpole, frozen_lake, cliff_walking, acrobot, pendulum)
