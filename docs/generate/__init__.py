"""Pages of the documentation that are generated from the program when the site is built (see docs/hooks.py)."""
