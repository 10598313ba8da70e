"""Whether the muscles and tendons of a ``RigidModel`` are whole: they hold indices, which kernels do not check."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from diffsim_core.rigid._check_parts import not_finite, reversed_ranges, wrong_indices, wrong_shapes
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import RigidModel
from diffsim_core.rigid.muscles import HillConstants, Muscles
from diffsim_core.rigid.paths import NO_SIDE, Paths, WrapKind
from diffsim_core.rigid.tendons import ActuatorDynamics, AffineConstants, PassiveConstants, Tendons


def units(m: RigidModel) -> Iterator[str]:
    """Problems of the units that act along lengths."""
    wrong = [*_muscle_fields(m, m.muscles), *_tendon_fields(m, m.tendons)]
    yield from wrong
    if wrong:
        return
    for name, paths in (("muscles", m.muscles), ("tendons", m.tendons)):
        yield from not_finite(paths, list(vars(paths)), f"{name}.")
        yield from _ranges(name, paths)
        if (paths.wrap_radius < 0).any():
            yield f"{name}.wrap_radius has a number below zero"
        lengths = np.linalg.norm(paths.wrap_axis[paths.wrap_kind == WrapKind.CYLINDER], axis=1)
        if (np.abs(lengths - 1) > 1e-6).any():
            yield f"{name}.wrap_axis has a vector of another length than 1"
        for joint in paths.term_joint:
            kind = int(m.joint_type[joint])
            if kind in range(len(JOINTS)) and not JOINTS.at(kind).scalar:
                yield f"{name}.term_joint has joint {m.joint_name[joint]!r}: give joints with one coordinate"
    active = np.concatenate([x.activation[x.activation >= 0] for x in (m.muscles, m.tendons)])
    if sorted(active.tolist()) != list(range(len(active))):
        where = "muscles.activation" if not m.tendons.na else "muscles.activation and tendons.activation"
        yield f"{where} has {active.tolist()}: number the activations from 0, each once"
    yield from _hill(m.muscles)
    yield from _affine(m.tendons)
    yield from _passive(m.tendons)


def _path_shapes(paths: Paths, n: int) -> dict[str, tuple[int, ...]]:
    segments, terms = len(paths.segment_link), len(paths.term_joint)
    shapes: dict[str, tuple[int, ...]] = {"first": (n + 1,), "term_first": (n + 1,), "term_scale": (terms,)}
    shapes |= {"segment_link": (segments, 2), "segment_pos": (segments, 2, 3), "segment_scale": (segments,)}
    wraps = len(paths.wrap_kind)
    shapes |= {"segment_wrap": (segments,), "wrap_link": (wraps,), "wrap_radius": (wraps,), "wrap_side_link": (wraps,)}
    return shapes | {f"wrap_{name}": (wraps, 3) for name in ("pos", "axis", "side_pos")}


def _path_indices(m: RigidModel, paths: Muscles | Tendons, name: str) -> Iterator[str]:
    yield from wrong_indices(f"{name}.activation", paths.activation, -1, m.na)
    yield from wrong_indices(f"{name}.segment_link", paths.segment_link, -1, m.nl)
    yield from wrong_indices(f"{name}.first", paths.first, 0, len(paths.segment_link) + 1)
    yield from wrong_indices(f"{name}.segment_wrap", paths.segment_wrap, -1, len(paths.wrap_kind))
    yield from wrong_indices(f"{name}.wrap_kind", paths.wrap_kind, 0, len(WrapKind))
    yield from wrong_indices(f"{name}.wrap_link", paths.wrap_link, -1, m.nl)
    yield from wrong_indices(f"{name}.wrap_side_link", paths.wrap_side_link, NO_SIDE, m.nl)
    yield from wrong_indices(f"{name}.term_joint", paths.term_joint, 0, m.nl)
    yield from wrong_indices(f"{name}.term_first", paths.term_first, 0, len(paths.term_joint) + 1)


def _muscle_fields(m: RigidModel, u: Muscles) -> Iterator[str]:
    n = u.n
    shapes = {"gear": (n,), "activation": (n,), "hill": (n, len(HillConstants._fields)), **_path_shapes(u, n)}
    yield from wrong_shapes(u, shapes, "muscles.")
    yield from wrong_indices("muscles.control", u.control, 0, m.nu)
    yield from _path_indices(m, u, "muscles")


def _tendon_fields(m: RigidModel, u: Tendons) -> Iterator[str]:
    n = u.n
    shapes = {"activation": (n,), "dynamics": (n,), "site_link": (n,), "site_wrench": (n, 6), **_path_shapes(u, n)}
    shapes |= {"affine": (n, len(AffineConstants._fields)), "passive": (n, len(PassiveConstants._fields))}
    yield from wrong_shapes(u, shapes, "tendons.")
    yield from wrong_indices("tendons.control", u.control, -1, m.nu)
    yield from wrong_indices("tendons.dynamics", u.dynamics, 0, len(ActuatorDynamics))
    yield from wrong_indices("tendons.site_link", u.site_link, -1, m.nl)
    yield from _path_indices(m, u, "tendons")
    if np.shape(u.dynamics) == (n,) == np.shape(u.activation) and ((u.dynamics == 0) != (u.activation < 0)).any():
        yield "tendons.activation: a unit has an activation if it has dynamics, and only then"


def _ranges(name: str, paths: Paths) -> Iterator[str]:
    for field, values, count, what in (
        ("first", paths.first, len(paths.segment_link), "segments"),
        ("term_first", paths.term_first, len(paths.term_joint), "terms"),
    ):
        if values[0] != 0 or values[-1] != count or (np.diff(values) < 0).any():
            yield f"{name}.{field} is {values.tolist()}: it must rise from 0 to the number of {what}, {count}"


def _hill(u: Muscles) -> Iterator[str]:
    for i in np.flatnonzero(u.activation >= 0):
        c = u.constants(int(i))
        bounds = (("length", c.length_low, c.length_high), ("range", c.range_low, c.range_high), ("l", c.lmin, c.lmax))
        for name, low, high in bounds:
            if not low < high:
                yield f"muscles.hill[{i}] has {name} from {low:g} to {high:g}: give the lower end first"
        for name in ("vmax", "tau_act", "tau_deact"):
            if not getattr(c, name) > 0:
                yield f"muscles.hill[{i}] has {name}={getattr(c, name):g}: give a positive number"


def _affine(u: Tendons) -> Iterator[str]:
    rows = u.affine[u.control >= 0]
    for low, name in ((4, "lower"), (7, "act_lower")):
        yield from reversed_ranges(f"tendons.affine {name}", rows[:, low : low + 2])
    if (rows[:, AffineConstants._fields.index("tau")] <= 0).any():
        yield "tendons.affine has a tau that is not positive"


def _passive(u: Tendons) -> Iterator[str]:
    rows = u.passive[u.control < 0]
    for low, name in ((1, "spring_lower"), (4, "lower")):
        yield from reversed_ranges(f"tendons.passive {name}", rows[:, low : low + 2])
    for name in ("stiffness", "damping", "limit_stiffness", "limit_damping", "friction"):
        if (rows[:, PassiveConstants._fields.index(name)] < 0).any():
            yield f"tendons.passive has a {name} below zero"
    for name in ("limit_width", "slip"):
        if (rows[:, PassiveConstants._fields.index(name)] <= 0).any():
            yield f"tendons.passive has a {name} that is not positive"
