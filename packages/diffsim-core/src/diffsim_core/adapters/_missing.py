"""What an adapter says where a library is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed_by(name: str, install: str) -> Iterator[None]:
    """A context of imports; where one fails, an ``ImportError`` says what ``name`` needs and what pip is to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or "a package"
        raise ImportError(f"{name} needs {missing}, which is not installed: pip install {install}") from error
