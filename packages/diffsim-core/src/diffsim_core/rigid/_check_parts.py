"""Whether the parts of a ``RigidModel`` are whole: they hold indices, which kernels do not check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from diffsim_core.rigid.contacts import PointKind
from diffsim_core.rigid.fluid import FluidShape
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.solids import Solid


def wrong_shapes(owner: object, expected: Mapping[str, tuple[int, ...]], prefix: str = "") -> Iterator[str]:
    """Fields of ``owner`` that do not have the expected shape."""
    for name, shape in expected.items():
        if (found := np.shape(getattr(owner, name))) != shape:
            yield f"{prefix}{name} has shape {found}, expected {shape}"


def wrong_indices(name: str, values: Any, low: int, bound: int) -> Iterator[str]:
    """Whether ``values`` are whole numbers from ``low`` to ``bound - 1``."""
    values = np.asarray(values)
    if values.size and values.dtype.kind not in "iu":
        yield f"{name} has dtype {values.dtype}; give whole numbers"
    elif values.size and (values.min() < low or values.max() >= bound):
        yield f"{name} has {values.min()} to {values.max()}; give indices from {low} to {bound - 1}"


def not_finite(owner: object, names: Any, prefix: str = "") -> Iterator[str]:
    """Fields of ``owner`` that hold a number that is infinite or none."""
    for name in names:
        values = getattr(owner, name)
        if isinstance(values, float | np.ndarray) and np.asarray(values).dtype.kind == "f":
            bad = ~np.isfinite(values)
            if np.any(bad):
                where = f" at {np.argwhere(bad)[0]}" if np.ndim(values) else ""
                yield f"{prefix}{name} is not finite: {np.asarray(values)[bad].flat[0]}{where}"


def negative(owner: object, names: Any, prefix: str = "") -> Iterator[str]:
    """Fields of ``owner`` with a number below zero."""
    for name in names:
        values = np.asarray(getattr(owner, name))
        if (values < 0).any():
            where = f"[{', '.join(str(i) for i in np.argwhere(values < 0)[0])}]" if values.ndim else ""
            yield f"{prefix}{name}{where} is {values[values < 0].flat[0]:g}: give a number of at least 0"


def reversed_ranges(name: str, ranges: Any) -> Iterator[str]:
    """Rows ``[n, 2]`` whose lower bound is above the upper one."""
    for i in np.flatnonzero(ranges[:, 0] > ranges[:, 1])[:1]:
        yield f"{name}[{i}] is {ranges[i].tolist()}: give the lower bound first"


def points(m: RigidModel) -> Iterator[str]:
    """Problems of the kinds of contact points."""
    yield from wrong_shapes(m, {"contact_kind": (m.nc,), "contact_size": (m.nc, 3), "contact_quat": (m.nc, 4)})
    own = ("contact_plane", "contact_ratio", "contact_spin", "contact_roll", "contact_lever")
    yield from wrong_shapes(m, dict.fromkeys(own, (m.nc,)))
    yield from wrong_indices("contact_kind", m.contact_kind, 0, len(PointKind))
    yield from wrong_indices("contact_plane", m.contact_plane, -1, len(m.ground_planes))
    yield from negative(m, own[1:])
    if np.ndim(m.ground_planes) != 2 or np.shape(m.ground_planes)[1] != 4:
        yield f"ground_planes has shape {np.shape(m.ground_planes)}, expected (n, 4)"
    elif not np.allclose(np.linalg.norm(m.ground_planes[:, :3], axis=1), 1, atol=1e-6):
        yield "ground_planes has a normal that is not of length 1"
    if np.shape(m.contact_ratio) == np.shape(m.contact_plane):
        for c in np.flatnonzero((m.contact_ratio != 1) & (m.contact_plane < 0))[:1]:
            yield f"contact_ratio[{c}] is {m.contact_ratio[c]:g}: tangents are those of a plane; give contact_plane too"
    if np.shape(m.contact_quat) == (m.nc, 4) and (np.linalg.norm(m.contact_quat, axis=1) == 0).any():
        yield "contact_quat has a quaternion of length zero"
    if np.shape(m.contact_size) == (m.nc, 3) and np.shape(m.contact_kind) == (m.nc,):
        flat = (m.contact_kind == PointKind.ELLIPSOID) & (m.contact_size <= 0).any(axis=1)
        for i in np.flatnonzero(flat)[:1]:
            yield f"contact_size[{i}] is {m.contact_size[i].tolist()}: give an ellipsoid positive semi-axes"


def pairs(m: RigidModel) -> Iterator[str]:
    """Problems of the pairs of shapes that may touch."""
    p, n = m.pairs, len(m.pairs)
    shapes = {"solid": (n, 2), **dict.fromkeys(("kn", "kd", "kt", "mu"), (n,))}
    wrong = [*wrong_shapes(p, shapes, "pairs.")]
    if len(p.geom) != n:
        wrong.append(f"pairs.geom has {len(p.geom)} entries; give two names for each of {n} pairs")
    wrong += wrong_indices("pairs.solid", p.solid, 0, len(p.solids))
    for i, solid in enumerate(p.solids):
        wrong += solid_problems(solid, f"pairs.solids[{i}].", m.nl)
    yield from wrong
    if wrong:
        return
    yield from not_finite(p, shapes, "pairs.")
    yield from negative(p, ("kn", "kd", "kt", "mu"), "pairs.")
    for i in np.flatnonzero(p.link[:, 0] == p.link[:, 1])[:1]:
        yield f"pairs.solid[{i}] is of links {p.link[i].tolist()}: a pair is of two links"
    faces = np.array([len(solid.planes) for solid in p.solids])
    for i in np.flatnonzero((faces[p.solid[:, 0]] > 0) & (faces[p.solid[:, 1]] == 0))[:1] if n else ():
        yield f"pairs.solid[{i}] is {p.solid[i].tolist()}: give the sphere or capsule first"


def solid_problems(solid: Solid, prefix: str, nl: int) -> Iterator[str]:
    """Problems of a shape on one of ``nl`` links."""
    n, f = len(solid.segments), len(solid.planes)
    yield from wrong_shapes(
        solid, {"centre": (3,), "segments": (n, 2, 3), "shrink": (n, 2, 3), "planes": (f, 4)}, prefix
    )
    yield from wrong_indices(f"{prefix}link", solid.link, -1, nl)
    yield from not_finite(solid, ("centre", "radius", "segments", "shrink", "planes"), prefix)
    yield from negative(solid, ("radius", "rounding"), prefix)
    if not n or (not f and n > 1):
        yield f"{prefix}segments has {n}: give a sphere or capsule one, a polyhedron its edges"


def fluid(m: RigidModel) -> Iterator[str]:
    """Problems of the fluid and the shapes in it."""
    f, n = m.fluid, m.fluid.n
    shapes: dict[str, tuple[int, ...]] = {"density": (), "viscosity": (), "wind": (3,), "kind": (n,), "link": (n,)}
    shapes |= {"pos": (n, 3), "quat": (n, 4), "size": (n, 3), "coefficients": (n, 11)}
    wrong = [*wrong_shapes(f, shapes, "fluid.")]
    wrong += wrong_indices("fluid.kind", f.kind, 0, len(FluidShape))
    wrong += wrong_indices("fluid.link", f.link, 0, m.nl)
    yield from wrong
    if wrong:
        return
    yield from not_finite(f, shapes, "fluid.")
    yield from negative(f, ("density", "viscosity"), "fluid.")
    if (np.linalg.norm(f.quat, axis=1) == 0).any():
        yield "fluid.quat has a quaternion of length zero"
    for i in np.flatnonzero((f.size <= 0).any(axis=1))[:1]:
        yield f"fluid.size[{i}] is {f.size[i].tolist()}: give positive lengths"


def loops(m: RigidModel) -> Iterator[str]:
    """Problems of the closures."""
    p, n = m.loops, m.loops.n
    shapes = {"pos": (n, 2, 3), "quat": (n, 2, 4), "link": (n, 2)}
    gains = ("stiffness", "damping", "torsion", "torsion_damping")
    wrong = [*wrong_shapes(p, shapes | dict.fromkeys(gains, (n,)), "loops.")]
    wrong += wrong_indices("loops.link", p.link, -1, m.nl)
    if len(p.name) != n:
        wrong.append(f"loops.name has {len(p.name)} entries; give each of {n} closures a name")
    yield from wrong
    if wrong:
        return
    yield from not_finite(p, (*shapes, *gains), "loops.")
    yield from negative(p, gains, "loops.")
    for i in np.flatnonzero(p.link[:, 0] == p.link[:, 1])[:1]:
        yield f"loops.link[{i}] (loop {p.name[i]!r}) is {p.link[i].tolist()}: a closure is between two links"
    if (np.linalg.norm(p.quat, axis=2) == 0).any():
        yield "loops.quat has a quaternion of length zero"
