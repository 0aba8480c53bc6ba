"""Tasks, one folder each: data config, training steps and validation, zero-config choices, inference class, commands.

Tasks do not import each other.
"""
