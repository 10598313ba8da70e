"""``Remade``: copies and pickles of what holds compiled code, made again from the arguments it was made with."""

from __future__ import annotations

from typing import Any, Self


class Remade:
    """Base of classes that compute from their arguments alone and keep no state, such as simulators.

    ``copy``, ``pickle`` and worker processes get the class and its arguments. The copy compiles nothing anew: kernels
    are found where the first ones were kept.
    """

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        self = super().__new__(cls)
        self._made_with = args, options
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (type(self), *self._made_with)


def _make(cls: type[Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return cls(*args, **options)
