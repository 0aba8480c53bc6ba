"""Example of a plugin: parts for `seqlab` in another package, listed in `table`. Copy what you need."""
