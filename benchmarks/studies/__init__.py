"""Studies: small CPU experiments with models and optimizers, one command per table and curves in docs/results."""
