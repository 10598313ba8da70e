"""Coupling on NumPy arrays, see ``coupling_probe.h``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

import diffsim_mpm
from diffsim_core.native import Arguments, Kernels, Launch, Launcher, native_kernels
from diffsim_mpm._kernels import sum_numbers
from diffsim_mpm.chain import KinematicChain

_TABLES = {"integers": "const int*", "reals": "const T*"}
_NODES = {"dt": "T", "pose": "const T*", "pose_next": "const T*", "x": "const T*", "mass": "const T*", "v": "const T*"}
_COLLIDE = Arguments("CollideArgs", **_TABLES, **_NODES, v_out="T*", impulse="T*")
_COLLIDE_VJP = Arguments(
    "CollideVjpArgs",
    **_TABLES,
    **_NODES,
    gv_out="const T*",
    gimpulse="const T*",
    gv="T*",
    gmass="T*",
    gpose="T*",
    gpose_next="T*",
)
_CHAIN = Arguments("ChainArgs", **_TABLES, fraction="T", q="const T*", u="const T*", pose="T*", gq="T*", gu="T*")
_TOTAL = Arguments("TotalArgs", sums="T*", total="T*")
FUNCTIONS = {
    "probe_total": _TOTAL,
    "probe_add": _TOTAL,
    "probe_collide": _COLLIDE,
    "probe_collide_vjp": _COLLIDE_VJP,
    "probe_chain": _CHAIN,
    "probe_chain_vjp": _CHAIN,
}


@functools.cache
def kernels(dtype: str = "float64", *, on_cuda: bool = False) -> Kernels:
    return native_kernels(
        f"diffsim_test_coupling_{dtype}_{'cuda' if on_cuda else 'cpu'}",
        "coupling_probe.h",
        FUNCTIONS,
        folders=[Path(__file__).parent, Path(diffsim_mpm.__file__).parent / "_source"],
        dtype=dtype,
        on_cuda=on_cuda,
        defines={"DS_MAX_SHAPES": 32, "DS_MAX_JOINTS": 32},
    )


class Probe:
    """A chain's functions; a CPU can run what is made for CUDA, one node after the other."""

    def __init__(self, chain: KinematicChain, dtype: str = "float64", *, on_cuda: bool = False) -> None:
        self.chain, self.dtype = chain, np.dtype(dtype)
        self.kernels = kernels(dtype, on_cuda=on_cuda)
        tables = chain.pack()
        self.tables = tables.integers, tables.reals.astype(dtype)
        addresses = {k: a.ctypes.data for k, a in zip(_TABLES, self.tables, strict=True)}
        self.launcher = Launcher(self.kernels, device="cpu", constants=addresses, threads=1)

    def _run(self, function: str, items: int, **arguments: Any) -> None:
        held = {k: a if isinstance(a, float) else np.ascontiguousarray(a) for k, a in arguments.items()}
        program = self.launcher.program(Launch(function, items=lambda n: n), given=tuple(held))
        program.run(items, 1, [a if isinstance(a, float) else a.ctypes.data for a in held.values()])

    def _nodes(self, x: Any, mass: Any, v: Any) -> tuple[int, dict[str, Any]]:
        lanes = self.kernels.lanes
        assert len(x) % lanes == 0
        return len(x) // lanes, {k: np.asarray(a, self.dtype) for k, a in (("x", x), ("mass", mass), ("v", v))}

    def collide(self, pose: Any, pose_next: Any, dt: float, x: Any, mass: Any, v: Any) -> tuple[Any, Any]:
        items, nodes = self._nodes(x, mass, v)
        out, impulse = np.full(x.shape, np.nan, self.dtype), self.sums(6 * len(pose))
        pose, pose_next = (np.asarray(p, self.dtype) for p in (pose, pose_next))
        self._run("probe_collide", items, dt=dt, pose=pose, pose_next=pose_next, **nodes, v_out=out, impulse=impulse)
        return out, self.totals(impulse).reshape(-1, 6)

    def sums(self, count: int) -> Any:
        """Room for so many sums, which are numbers on a CPU."""
        return np.zeros((count, sum_numbers(str(self.dtype)) if self.kernels.on_cuda else 1), self.dtype)

    def totals(self, sums: Any) -> Any:
        total = np.full(len(sums), np.nan, self.dtype)
        self._run("probe_total", len(sums), sums=sums, total=total)
        return total

    def total_of(self, values: Any) -> Any:
        """The sum of numbers that are added one after the other."""
        sums = self.sums(1)
        self._run("probe_add", len(values), sums=sums, total=np.asarray(values, self.dtype))
        return self.totals(sums)[0]

    def collide_vjp(
        self, pose: Any, pose_next: Any, dt: float, x: Any, mass: Any, v: Any, gv_out: Any, gimpulse: Any
    ) -> dict[str, Any]:
        items, nodes = self._nodes(x, mass, v)
        pose, pose_next = (np.asarray(p, self.dtype) for p in (pose, pose_next))
        back = {"gv": np.full(x.shape, np.nan, self.dtype), "gmass": np.full(len(x), np.nan, self.dtype)}
        sums = {"gpose": self.sums(pose.size), "gpose_next": self.sums(pose.size)}
        given = {"gv_out": np.asarray(gv_out, self.dtype), "gimpulse": np.asarray(gimpulse, self.dtype)}
        self._run("probe_collide_vjp", items, dt=dt, pose=pose, pose_next=pose_next, **nodes, **given, **back, **sums)
        return back | {name: self.totals(each).reshape(pose.shape) for name, each in sums.items()}

    def poses(self, q: Any, u: Any, fraction: float) -> Any:
        q, u = (np.asarray(a, self.dtype) for a in (q, u))
        pose, none = np.full((len(q), len(self.chain.shapes), 12), np.nan, self.dtype), np.zeros(1, self.dtype)
        self._run("probe_chain", len(q), fraction=fraction, q=q, u=u, pose=pose, gq=none, gu=none)
        return pose

    def poses_vjp(self, q: Any, u: Any, fraction: float, gpose: Any) -> tuple[Any, Any]:
        q, u = (np.asarray(a, self.dtype) for a in (q, u))
        gq, gu = np.zeros_like(q), np.zeros_like(u)
        self._run("probe_chain_vjp", len(q), fraction=fraction, q=q, u=u, pose=np.asarray(gpose), gq=gq, gu=gu)
        return gq, gu
