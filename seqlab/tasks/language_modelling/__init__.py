"""Language modelling: text without a second side."""
