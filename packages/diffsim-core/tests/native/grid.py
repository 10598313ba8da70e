"""A small engine of several launches a step, see ``grid.h``, and the same in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffsim_core.native import Arguments, Kernels, Launch, Launcher, native_kernels

CELLS, PARTICLES, TURNS, WEIGHT = 12, 30, 4, 0.75

_GRID = Arguments(
    "GridArgs",
    particles="int",
    cells="int",
    weight="T",
    carried="const T*",
    cell="const int*",
    grid="T*",
    list="own T*",
    out="T*",
)
_SMOOTH = Arguments("SmoothArgs", num_worlds="int", cells="int", turn="int", grid="T*")
FUNCTIONS = {"clear": _GRID, "scatter": _GRID, "gather": _GRID, "smooth": _SMOOTH}


def grid_kernels(dtype: str = "float32", *, on_cuda: bool = False) -> Kernels:
    return native_kernels(
        f"diffsim_test_grid_{dtype}_{'cuda' if on_cuda else 'cpu'}",
        "grid.h",
        FUNCTIONS,
        folders=[Path(__file__).parent],
        dtype=dtype,
        on_cuda=on_cuda,
        defines={},
    )


class Grid:
    """The engine on NumPy arrays. A CPU can run what is made for CUDA, one item after the other."""

    def __init__(self, dtype: str = "float32", *, threads: int = 1, on_cuda: bool = False) -> None:
        self.dtype = dtype
        self.launcher = Launcher(
            grid_kernels(dtype, on_cuda=on_cuda),
            device="cpu",
            constants={"particles": PARTICLES, "cells": CELLS, "weight": WEIGHT},
            scratch={"grid": lambda n: 2 * n * CELLS, "list": lambda n: PARTICLES},
            threads=threads,
        )
        self.program = self.launcher.program(
            Launch("clear", items=lambda n: n * CELLS),
            Launch("scatter", items=lambda n: n),
            *(Launch("smooth", items=lambda n: n * CELLS, values={"turn": turn}) for turn in range(TURNS)),
            Launch("gather", items=lambda n: n * PARTICLES),
            given=("carried", "cell", "out"),
        )

    def __call__(self, carried: Any, cell: Any) -> Any:
        out = np.full_like(carried, np.nan)
        addresses = [array.ctypes.data for array in (carried, cell, out)]
        self.program.run(len(carried), self.launcher.threads, addresses)
        return out


def some_particles(n: int, seed: int, dtype: str = "float32") -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    cell = random.integers(0, CELLS, (n, PARTICLES), dtype=np.int32)
    return random.standard_normal((n, PARTICLES)).astype(dtype), cell


def expected(carried: Any, cell: Any) -> Any:
    grid = np.zeros((len(carried), CELLS))
    np.add.at(grid, (np.arange(len(carried))[:, None], cell), WEIGHT * carried.astype(np.float64))
    for _ in range(TURNS):
        grid = 0.5 * (np.roll(grid, 1, axis=1) + np.roll(grid, -1, axis=1))
    return np.take_along_axis(grid, cell, axis=1)
