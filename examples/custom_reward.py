"""Train on a reward of your own: chrF, less a penalty for repeated words.

    python custom_reward.py [RUN_DIR]

The command line takes this file as a plugin:

    seqlab train ... --plugin custom_reward.py --objective.family policy_gradient --objective.reward no_repeats
"""

import sys
from itertools import pairwise

import seqlab
from seqlab.evaluation import chrf_reward


@seqlab.register("reward")
def no_repeats(hypothesis: str, reference: str) -> float:
    """Compute chrF minus 0.1 for each word that repeats the one before it."""
    return chrf_reward(hypothesis, reference) - 0.1 * sum(a == b for a, b in pairwise(hypothesis.split()))


SMALL = {"model.d_model": 64, "model.d_ff": 128, "data.valid_max_pairs": 50, "optim.ema_decay": 0}
QUICK = {"training.max_steps": 150, "optim.optimizer.lr": 5e-3, "optim.schedule.warmup_steps": 20}
REWARD = {"objective.family": "policy_gradient", "objective.reward": "no_repeats", "objective.cross_entropy": 0.3}

if __name__ == "__main__":
    run_dir = sys.argv[1] if len(sys.argv) > 1 else "runs/custom_reward"
    start = str(seqlab.train(seqlab.recipe("number_words", f"{run_dir}_start", {**SMALL, **QUICK}), f"{run_dir}_start"))
    settings = {**SMALL, **QUICK, **REWARD, "init_from": start, "optim.optimizer.lr": 1e-3, "training.max_steps": 30}
    seqlab.train(seqlab.recipe("number_words", run_dir, settings), run_dir)
    print(seqlab.load(run_dir).translate(["the seventh of May"])[0])
