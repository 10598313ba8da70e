"""Fits of critics compiled from C++, see ``_source/``: passes forward and back, clipping and Adam(W) in one call."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from diffsim_core.native import Arguments, Launch, Launcher, Program

from .layout import SHAPE, Layout, Sizes, network_kernels

CALL = {
    "parameters": "T*",
    "m": "T*",
    "v": "T*",
    "x": "const T*",
    "y": "const T*",
    "order": "const int*",
    "constants": "const T*",
    "loss": "T*",
    "epochs": "int",
    "rows": "int",
    "batch": "int",
}
"""What comes with each call."""
_ARGUMENTS = Arguments("FitArgs", **CALL, layers="const int*", **dict.fromkeys((*SHAPE, "critics"), "int"), work="T*")


class CompiledFit(NamedTuple):
    """What runs, for networks of one shape."""

    program: Program
    layers: np.ndarray
    """Whose address the program has."""

    @classmethod
    def of(
        cls,
        name: str,
        arguments: Arguments,
        call: Mapping[str, str],
        layout: Layout,
        dtype: str,
        *,
        work: int,
        **constants: int,
    ) -> CompiledFit:
        """The function ``name`` of ``_source/NAME.h``.

        Args:
            name: of the function.
            arguments: all that it takes.
            call: those of them that come with each call.
            layout: of its networks.
            dtype: the number type.
            work: numbers in one of the four copies that it needs of all parameters: these, moments and gradients.
            constants: arguments that are the same in every call, in addition to the layout's.
        """
        layers = np.array(layout.layers, dtype=np.int32)
        # What is not in these copies serves the networks one after the other.
        room = 4 * work + layout.shape["turned_size"] + layout.scratch
        launcher = Launcher(
            network_kernels(name, f"{name}.h", {name: arguments}, dtype),
            device="cpu",
            constants={"layers": layers.ctypes.data, **layout.shape, **constants},
            scratch={"work": lambda _: room},
            threads=1,
        )
        return cls(launcher.program(Launch(name, items=lambda _: 1), given=tuple(call)), layers)


@functools.lru_cache(maxsize=8)
def fit_of(mlp: Sizes, count: int, dtype: str) -> CompiledFit:
    """What fits ``count`` networks of one output to the same targets; its program takes ``CALL``."""
    layout = Layout.of(mlp, dtype, scalar=True)
    work = count * layout.shape["size"]
    return CompiledFit.of("fit", _ARGUMENTS, CALL, layout, dtype, critics=count, work=work)
