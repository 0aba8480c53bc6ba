"""Numbers, classes and labels from tables, images and series."""
