"""A new task: the similarity of two texts, trained on pairs with the same meaning."""
