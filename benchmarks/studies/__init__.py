"""Studies of models and optimizers: one command for each table with its curves in docs/results."""
