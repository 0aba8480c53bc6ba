"""Train a translator with scheduled sampling (Bengio et al. 2015) and compare it with teacher forcing.

    python scheduled_sampling.py [STEPS]

With teacher forcing the decoder reads the reference in training, but its own predictions when it translates. Scheduled
sampling replaces more and more input tokens by predictions. Both runs have the same seed, data and model.
"""

import sys

import seqlab
from seqlab.data import read_lines
from seqlab.runs import RunFolder

SMALL = {
    "model.d_model": 64,
    "model.d_ff": 128,
    "data.valid_max_pairs": 50,
    "optim.optimizer.lr": 5e-3,
    "optim.schedule.warmup_steps": 20,
    "optim.ema_decay": 0.0,
    "training.log_every": 20,
}


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    objectives = {
        "teacher_forcing": {"objective.family": "cross_entropy", "objective.label_smoothing": 0.1},
        "scheduled_sampling": {"objective.family": "scheduled_sampling", "objective.decay_steps": steps / 5},
    }
    for name, objective in objectives.items():
        run_dir = f"runs/{name}"
        config = seqlab.recipe("number_words", run_dir, {"training.max_steps": steps, **SMALL, **objective})
        seqlab.train(config, run_dir)
        for line in RunFolder(run_dir).read_metrics():
            if line["kind"] == "train":
                predicted = line.get("predicted_inputs", 0.0)
                print(f"{name}: step {line['step']}, nll {line['nll']:.2f}, predicted inputs {predicted:.0%}")
        sources, references = (list(read_lines(f"{run_dir}/data/test_short.{side}")) for side in ("en", "de"))
        hypotheses = seqlab.load(run_dir).translate(sources, beam_size=1)
        print(f"{name}: {seqlab.evaluate(hypotheses, [references], ['chrf'])['chrf'].as_line()}")


if __name__ == "__main__":
    main()
