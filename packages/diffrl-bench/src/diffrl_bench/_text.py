"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Sequence


def rounded(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` significant digits and commas: ``251,000``, ``1.31``; ``-`` for None."""
    if value is None:
        return "-"
    text = f"{value:.{digits}g}"
    number = float(text)
    if abs(number) >= 10 ** (digits - 1):
        return f"{number:,.0f}"
    return text if "e" not in text else f"{number:g}"


def magnitude(value: float | None) -> str:
    """As ``rounded``, but powers of ten from a million on and below a thousandth: ``1.5e+12``."""
    if value is None or value == 0.0 or 1e-3 <= abs(value) < 1e6:
        return rounded(value)
    return f"{value:.1e}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool = False) -> str:
    """Aligned columns, the first to the left and the others to the right; plain or as a Markdown table."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]

    def row(line: Sequence[str]) -> str:
        cells = [cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True))]
        return f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip()

    rule = ["-" * w if k == 0 or not markdown else "-" * (w - 1) + ":" for k, w in enumerate(widths)]
    return "\n".join([row(lines[0]), row(rule), *map(row, lines[1:])])


def count(number: int, thing: str) -> str:
    """``1 thread``, ``4 threads``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
