"""Command line: parses arguments and calls the other packages."""
