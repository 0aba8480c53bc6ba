"""Studies of what models and optimizers do: the tables and curves of docs/results, each by one command."""
