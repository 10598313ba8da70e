"""Which tree each link belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsInt


def roots(parents: Iterable[SupportsInt]) -> list[int]:
    """The root link of each link's tree, from each link's parent: -1 for none, else a link before it."""
    root: list[int] = []
    for i, parent in enumerate(map(int, parents)):
        root.append(i if parent < 0 else root[parent])
    return root
