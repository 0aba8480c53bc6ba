"""Text of numbers: exact in results, and short in reports for people."""


def exact_text(value: float) -> str:
    """Return the shortest text that reads back as the same number; integers below 1e16 have no decimal point."""
    return str(int(value)) if abs(value) < 1e16 and value == int(value) else repr(float(value))


def short_text(value: float, decimals: int = 3) -> str:
    """Return a number with a fixed number of decimals, or with three digits if these decimals would hide them."""
    is_hidden = 0 < abs(value) < 10 ** (1 - decimals)
    return f"{value:.3g}" if is_hidden else f"{value:.{decimals}f}"
