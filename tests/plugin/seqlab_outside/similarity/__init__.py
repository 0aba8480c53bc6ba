"""A task of its own: two texts to a similarity, learnt from pairs that mean the same."""
