"""Example of a plugin: custom components in a package outside seqlab, listed in `table.py`. Copy what you need."""
