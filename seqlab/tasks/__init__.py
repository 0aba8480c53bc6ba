"""Tasks, one folder each: data config, training and validation, zero-config choices, inference class, commands.

Tasks do not import each other.
"""
