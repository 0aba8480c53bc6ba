import pytest

from seqlab.runs.migrate import current_objective_weight_name


@pytest.mark.parametrize(
    ("older", "current"),
    [
        ("critic.project.weight", "critic.head.project.weight"),
        ("critic.head.project.weight", "critic.head.project.weight"),
        ("temperature", "temperature"),
    ],
)
def test_weights_of_a_critic_are_renamed_as_those_of_the_model(older: str, current: str) -> None:
    assert current_objective_weight_name("predictor", older) == current
