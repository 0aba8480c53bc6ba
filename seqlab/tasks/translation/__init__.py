"""Translation task: map source lines to target lines."""
