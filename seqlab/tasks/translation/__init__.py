"""Translation: pairs of lines."""
