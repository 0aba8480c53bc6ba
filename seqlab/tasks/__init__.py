"""One folder for each task: its data section, its training, its zero-config choices and its inference class.

Tasks never import each other.
"""
