"""Example of a plugin: custom parts in a package outside seqlab, listed in `table.py`. Copy what you need."""
