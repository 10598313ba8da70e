"""Error messages for unknown names, with the nearest known ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """``unknown task 'amt'; did you mean 'ant'? Known: ant, cartpole``."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return f"unknown {what} {name!r}{hint} Known: {', '.join(names) or 'none'}"
