"""``MaterialProbe``: what the engine makes of a deformation, for tests, curves and users who ask."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.native import Arguments, Kernels, Launch, Launcher, native_kernels, shared_headers
from diffsim_mpm.materials import MATERIALS, SOURCE, CompiledMaterials, Material

_INPUTS = {"p": "const T*", "C": "const T*", "F": "const T*", "h": "const T*"}
_STRESS = {**_INPUTS, "F_out": "T*", "h_out": "T*", "tau": "T*"}
_COTANGENTS = {"gF_out": "const T*", "gh_out": "const T*", "gtau": "const T*"}
_VJP = {**_INPUTS, **_COTANGENTS, "gp": "T*", "gC": "T*", "gF": "T*", "gh": "T*"}
_SIZES = {"num_worlds": "int", "material": "int", "params": "int"}
_FUNCTIONS = {
    "probe_stress": Arguments("StressArgs", **_SIZES, **_STRESS),
    "probe_stress_vjp": Arguments("StressVjpArgs", **_SIZES, **_VJP),
}


class Stress(NamedTuple):
    """What a material makes of a trial deformation."""

    F: Any
    """Deformation gradient after plastic flow ``[n, 3, 3]``."""
    h: Any
    """The particles' own number ``[n]``."""
    tau: Any
    """Kirchhoff stress [Pa] ``[n, 3, 3]``."""


class StressCotangents(NamedTuple):
    """Cotangents of what a material was given."""

    p: Any
    """Of the parameters ``[n, np]``."""
    C: Any
    """Of the velocity gradient ``[n, 3, 3]``."""
    F: Any
    """Of the trial deformation gradient ``[n, 3, 3]``."""
    h: Any
    """Of the particles' own number ``[n]``."""


class MaterialProbe:
    """A material's compiled stress and its vector-Jacobian product, on NumPy arrays.

    Args:
        material: its name, or the entry itself.
        dtype: ``"float32"`` or ``"float64"``.
        threads: CPU threads.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """

    def __init__(self, material: str | Material, *, dtype: str = "float64", threads: int = 1) -> None:
        self.material = MATERIALS[material] if isinstance(material, str) else material
        self.dtype = dtype
        # one module serves all materials of the package
        together = MATERIALS.built_in if self.material in MATERIALS.built_in else (self.material,)
        launcher = Launcher(
            probe_kernels(CompiledMaterials(together), dtype),
            device="cpu",
            constants={"material": together.index(self.material), "params": self.material.num_parameters},
            threads=threads,
        )
        self._threads = threads
        self._stress = launcher.program(Launch("probe_stress"), given=tuple(_STRESS))
        self._vjp = launcher.program(Launch("probe_stress_vjp"), given=tuple(_VJP))

    def stress(self, F: Any, p: Any = None, *, C: Any = None, h: Any = None) -> Stress:
        """Stress and plastic flow.

        Args:
            F: trial deformation gradients ``[n, 3, 3]``.
            p: parameters ``[n, np]`` or ``[np]``; by default the material's.
            C: velocity gradients [1/s] ``[n, 3, 3]``; by default zero.
            h: the particles' own number ``[n]``; by default zero.
        """
        given = self._inputs(F, p, C, h)
        n = len(given[2])
        out = Stress(self._empty(n, 3, 3), self._empty(n), self._empty(n, 3, 3))
        self._stress.run(n, self._threads, [a.ctypes.data for a in (*given, *out)])
        return out

    def vjp(
        self, F: Any, gtau: Any, *, gF: Any = None, gh: Any = None, p: Any = None, C: Any = None, h: Any = None
    ) -> StressCotangents:
        """Vector-Jacobian product of :meth:`stress`.

        Args:
            F: what :meth:`stress` was given, as are ``p``, ``C`` and ``h``.
            gtau: cotangents of the stress ``[n, 3, 3]``.
            gF: cotangents of F after plastic flow ``[n, 3, 3]``; by default zero.
            gh: cotangents of h after plastic flow ``[n]``; by default zero.
            p: parameters.
            C: velocity gradients.
            h: the particles' own number.
        """
        given = self._inputs(F, p, C, h)
        n = len(given[2])
        back = [self._array(gF, n, 3, 3), self._array(gh, n), self._array(gtau, n, 3, 3)]
        out = StressCotangents(self._empty(*given[0].shape), self._empty(n, 3, 3), self._empty(n, 3, 3), self._empty(n))
        self._vjp.run(n, self._threads, [a.ctypes.data for a in (*given, *back, *out)])
        return out

    def _inputs(self, F: Any, p: Any, C: Any, h: Any) -> list[Any]:
        n = len(F)
        p = self.material.row() if p is None else p
        self.material.check(p)
        row = self._array(p, n, self.material.num_parameters)
        return [row, self._array(C, n, 3, 3), self._array(F, n, 3, 3), self._array(h, n)]

    def _array(self, a: Any, *shape: int) -> Any:
        return np.ascontiguousarray(np.broadcast_to(0.0 if a is None else a, shape), dtype=self.dtype)

    def _empty(self, *shape: int) -> Any:
        return np.empty(shape, dtype=self.dtype)


@functools.cache
def probe_kernels(compiled: CompiledMaterials, dtype: str, on_cuda: bool = False) -> Kernels:
    """Kernels of ``_source/probe.h``."""
    return native_kernels(
        f"diffsim_mpm_probe_{compiled.name}_{dtype}_{'cuda' if on_cuda else 'cpu'}",
        "probe.h",
        _FUNCTIONS,
        folders=[shared_headers(SOURCE), *compiled.folders],
        dtype=dtype,
        on_cuda=on_cuda,
        defines=compiled.defines,
        first=compiled.includes,
    )
