"""What the tests that every function must pass need to know of one function: see ``test_every_function.py``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One call. Arrays are float64 or bool and given with their axes, as in ``{"reward": (array, "T N")}``."""

    call: Callable[..., Any]
    """The function with its options bound (``functools.partial``), called with the arrays by name."""
    floats: Mapping[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    flags: Mapping[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    out: tuple[str, ...] = ("T N",)
    """Axes of the result, or of each array in a tuple of results; ``N`` among them is the axis of worlds."""
    differentiable: tuple[str, ...] | None = None
    """The floats that a gradient flows through, all of them by default; the others are constants to the result."""
    nan: tuple[str, ...] | None = None
    """The floats in which NaN is refused wherever it stands, all of them by default."""
    compiles: bool = True
    """Whether ``torch.compile`` and ``jax.jit`` take the function with these arguments as they are."""
    other_ranks: bool = False
    """Whether the function takes arrays with one axis more, too: then a wrong rank cannot be made that way."""
    bound: tuple[str, ...] = ()
    """Axes whose lengths the options fix, so that they cannot be changed or permuted in a test."""

    @property
    def arrays(self) -> dict[str, tuple[np.ndarray, str]]:
        return {**self.floats, **self.flags}

    @property
    def smooth(self) -> tuple[str, ...]:
        return tuple(self.floats) if self.differentiable is None else self.differentiable

    @property
    def no_nan(self) -> tuple[str, ...]:
        return tuple(self.floats) if self.nan is None else self.nan

    def __call__(self, arrays: Mapping[str, Any]) -> tuple[Any, ...]:
        result = self.call(**arrays)
        return tuple(result) if isinstance(result, tuple) else (result,)


def all_cases() -> dict[str, Case]:
    """Those of every file next to this one, by name."""
    found: dict[str, Case] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem != "case":
            found |= importlib.import_module(f".{path.stem}", __package__).CASES
    return found
