"""``Parameters``: numbers of a model that become an input of the simulator, one set for each world."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.rigid._pack import PackedModel, pack, with_inputs
from diffsim_core.rigid.joints import JOINTS, Joint
from diffsim_core.rigid.limits import has_limit_damper, has_losses
from diffsim_core.rigid.model import FloatArray, RigidModel

Fields = dict[str, FloatArray]
"""Copies of the model's arrays, by name, to write into."""


class _Entry(NamedTuple):
    name: str
    nominal: float
    lower: float
    """Least value allowed."""
    open: bool
    """Whether ``lower`` itself is not."""
    write: Callable[[Fields, float], None]


class Kind(NamedTuple):
    """One kind of parameter."""

    lower: float
    open: bool
    entries: Callable[[RigidModel], Iterator[tuple[Sequence[str], float, Callable[[Fields, float], None]]]]
    """``(labels, nominal value, writer)`` of each parameter of this kind; the first label is its name."""


def _setter(field: str, where: Any) -> Callable[[Fields, float], None]:
    def write(fields: Fields, value: float) -> None:
        fields[field][where] = value

    return write


def _axes(field: str) -> Callable[[RigidModel], Any]:
    def entries(model: RigidModel) -> Any:
        for k, axis in enumerate("xyz"):
            yield [axis], getattr(model, field)[k], _setter(field, k)

    return entries


def _links(model: RigidModel) -> Iterator[tuple[int, str]]:
    """Links with mass, each under the name of its first body; bodies welded to it have no mass of their own."""
    for i in range(model.nl):
        if model.link_mass[i] > 0:
            yield i, (_bodies(model, i) or [model.joint_name[i]])[0]


def _bodies(model: RigidModel, i: int) -> list[str]:
    """Names of the bodies that move with a link, first the one that has its joints."""
    return [body.name for body in model.bodies if body.link == i]


def _actuators(model: RigidModel) -> Iterator[tuple[int, str]]:
    """Actuators of joints, under unique names: two that are called ``j`` are ``j.1`` and ``j.2``, and ``j`` is both.

    Muscles, actuators with a state and what acts on tendons are none of them: the engine has their strength in other
    numbers.
    """
    tendons = {*np.asarray(model.muscles.control).tolist(), *np.asarray(model.tendons.control).tolist()}
    seen: Counter[str] = Counter()
    for a, name in enumerate(model.actuator_name):
        seen[name] += 1
        if a not in tendons:
            yield a, name if model.actuator_name.count(name) == 1 else f"{name}.{seen[name]}"


def _link_mass(model: RigidModel) -> Any:
    for i, name in _links(model):
        yield [name], model.link_mass[i], _setter("link_mass", i)


def _link_density(model: RigidModel) -> Any:
    def writer(i: int) -> Callable[[Fields, float], None]:
        def write(fields: Fields, value: float) -> None:
            fields["link_mass"][i] = value * model.link_mass[i]
            fields["link_inertia"][i] = value * model.link_inertia[i]

        return write

    for i, name in _links(model):
        yield [name], 1.0, writer(i)


def _link_com(model: RigidModel) -> Any:
    for i, name in _links(model):
        for k, axis in enumerate("xyz"):
            yield [f"{name}.{axis}"], model.link_com[i, k], _setter("link_com", (i, k))


def _link_inertia(model: RigidModel) -> Any:
    def writer(i: int, j: int, k: int) -> Callable[[Fields, float], None]:
        def write(fields: Fields, value: float) -> None:
            fields["link_inertia"][i, j, k] = fields["link_inertia"][i, k, j] = value

        return write

    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    for i, name in _links(model):
        for j, k in pairs:
            yield [f"{name}.{'xyz'[j]}{'xyz'[k]}"], model.link_inertia[i, j, k], writer(i, j, k)


def _type_of(model: RigidModel, i: int) -> Joint:
    return JOINTS.at(int(model.joint_type[i]))


def _scalar(joint: Joint) -> bool:
    return joint.scalar


def _sprung(joint: Joint) -> bool:
    return not joint.world


def _joint(field: str, has: Callable[[Joint], bool]) -> Callable[[RigidModel], Any]:
    def entries(model: RigidModel) -> Any:
        for i, name in enumerate(model.joint_name):
            if has(_type_of(model, i)):
                yield [name], getattr(model, field)[i], _setter(field, i)

    return entries


def _limit_damping(model: RigidModel) -> Any:
    if model.limit_law == "released":
        yield from _joint("limit_damping", _scalar)(model)
    for i, name in enumerate(model.joint_name):
        if has_limit_damper(model, i):
            yield [name], model.limit_damping[i], _setter("limit_damping", i)


def _dof(field: str) -> Callable[[RigidModel], Any]:
    def entries(model: RigidModel) -> Any:
        for i, name in enumerate(model.joint_name):
            first = int(model.joint_dof[i])
            dofs = slice(first, first + _type_of(model, i).nv)
            yield [name], getattr(model, field)[first], _setter(field, dofs)

    return entries


def _friction(model: RigidModel) -> Any:
    """Only where there is some: a model without any has no code for it."""
    if has_losses(model):
        yield from _dof("dof_friction")(model)


def _servo_of(model: RigidModel, a: int) -> int | None:
    """The one servo of an actuator on a slide or hinge."""
    rows = np.flatnonzero(model.servo_actuator == a)
    scalars = [model.joint_dof[i] for i in range(model.nl) if _scalar(_type_of(model, i))]
    scalar = len(rows) == 1 and model.servo_dof[rows[0]] in scalars
    return int(rows[0]) if scalar else None


def _actuator_gain(model: RigidModel) -> Any:
    def writer(row: int) -> Callable[[Fields, float], None]:
        gain, bias = model.servo_gain[row], model.servo_bias[row]
        feedback = 1 if bias[1] else 2  # a position servo's stiffness, or a velocity servo's damping
        ratio = bias[feedback] / gain

        def write(fields: Fields, value: float) -> None:
            fields["servo_gain"][row] = value
            fields["servo_bias"][row, feedback] = value * ratio

        return write

    for a, name in _actuators(model):
        row = _servo_of(model, a)
        if row is not None and model.servo_gain[row]:
            yield [name], model.servo_gain[row], writer(row)
        elif a not in model.servo_actuator:
            yield [name], model.actuator_gear[a], _setter("actuator_gear", a)


def _actuator_damping(model: RigidModel) -> Any:
    def writer(row: int) -> Callable[[Fields, float], None]:
        def write(fields: Fields, value: float) -> None:
            fields["servo_bias"][row, 2] = -value

        return write

    for a, name in _actuators(model):
        row = _servo_of(model, a)
        if row is not None and model.servo_bias[row, 1]:
            yield [name], -model.servo_bias[row, 2], writer(row)


def _contact(field: str) -> Callable[[RigidModel], Any]:
    def entries(model: RigidModel) -> Any:
        for geom in dict.fromkeys(model.contact_geom):
            points = np.flatnonzero([name == geom for name in model.contact_geom])
            yield [geom], getattr(model, field)[points[0]], _setter(field, points)

    return entries


def _pair(field: str) -> Callable[[RigidModel], Any]:
    """Of each pair of shapes, under their names in either order."""

    def entries(model: RigidModel) -> Any:
        together = [frozenset(names) for names in model.pairs.geom]
        for names, shapes in dict(zip(model.pairs.geom, together, strict=True)).items():
            first = together.index(shapes)
            if model.pairs.geom[first] == names:
                rows = np.flatnonzero([other == shapes for other in together])
                labels = ["+".join(names), "+".join(names[::-1])]
                yield labels, getattr(model.pairs, field)[first], _setter(f"pair_{field}", rows)

    return entries


def _loop_place(model: RigidModel) -> Any:
    """Of each closure to the world, the point there."""
    for i, name in enumerate(model.loops.name):
        for end in np.flatnonzero(model.loops.link[i] < 0).tolist():
            for k, axis in enumerate("xyz"):
                yield [f"{name}.{axis}"], model.loops.pos[i, end, k], _setter("loop_pos", (i, end, k))


_ANY, _POSITIVE, _NOT_NEGATIVE = (-np.inf, True), (0.0, True), (0.0, False)
KINDS: dict[str, Kind] = {
    "gravity": Kind(*_ANY, _axes("gravity")),
    "link_mass": Kind(*_POSITIVE, _link_mass),
    "link_density": Kind(*_POSITIVE, _link_density),
    "link_com": Kind(*_ANY, _link_com),
    "link_inertia": Kind(*_ANY, _link_inertia),
    "joint_stiffness": Kind(*_NOT_NEGATIVE, _joint("joint_stiffness", _sprung)),
    "joint_damping": Kind(*_NOT_NEGATIVE, _dof("dof_damping")),
    "joint_armature": Kind(*_NOT_NEGATIVE, _dof("dof_armature")),
    "joint_friction": Kind(*_NOT_NEGATIVE, _friction),
    "limit_stiffness": Kind(*_NOT_NEGATIVE, _joint("limit_stiffness", _scalar)),
    "limit_damping": Kind(*_NOT_NEGATIVE, _limit_damping),
    "actuator_gain": Kind(*_ANY, _actuator_gain),
    "actuator_damping": Kind(*_NOT_NEGATIVE, _actuator_damping),
    "contact_kn": Kind(*_NOT_NEGATIVE, _contact("contact_kn")),
    "contact_kd": Kind(*_NOT_NEGATIVE, _contact("contact_kd")),
    "contact_kt": Kind(*_NOT_NEGATIVE, _contact("contact_kt")),
    "contact_mu": Kind(*_NOT_NEGATIVE, _contact("contact_mu")),
    "pair_kn": Kind(*_NOT_NEGATIVE, _pair("kn")),
    "pair_kd": Kind(*_NOT_NEGATIVE, _pair("kd")),
    "pair_kt": Kind(*_NOT_NEGATIVE, _pair("kt")),
    "pair_mu": Kind(*_NOT_NEGATIVE, _pair("mu")),
    "loop_place": Kind(*_ANY, _loop_place),
}
_FIELDS = (
    "gravity", "link_mass", "link_com", "link_inertia", "joint_stiffness", "dof_damping", "dof_armature",
    "dof_friction", "limit_stiffness", "limit_damping", "actuator_gear", "servo_gain", "servo_bias",
    "contact_kn", "contact_kd", "contact_kt", "contact_mu",
)  # fmt: skip


class Parameters:
    """Selected numbers of a model, as one row ``[np]`` for each world.

    A name is ``kind:label``, for instance ``link_mass:torso``, ``contact_mu:left_foot`` or ``gravity:z``; ``*`` and
    ``?`` in the label select several, and a kind alone is all of its kind. Labels are names of bodies, joints,
    actuators and geoms of the model. ``Parameters.available(model)`` lists them; units are those of ``RigidModel``,
    and ``link_density`` is a factor on a body's mass and inertia together.

    Args:
        model: the model.
        names: what to select.

    Raises:
        ValueError: for a name that selects nothing, with the nearest known ones, or for ``link_density`` together
            with ``link_mass`` or ``link_inertia`` of one link.
    """

    def __init__(self, model: RigidModel, names: Iterable[str]) -> None:
        self.model = model
        self.groups: dict[str, tuple[int, ...]] = {}
        """For each name given, the indices of the parameters it selected."""
        entries: dict[str, _Entry] = {}
        for name in (names,) if isinstance(names, str) else names:
            selected = _select(model, name)
            entries |= {entry.name: entry for entry in selected}
            order = list(entries)
            self.groups[name] = tuple(order.index(entry.name) for entry in selected)
        self._entries = tuple(entries.values())
        self.names: tuple[str, ...] = tuple(entries)
        """One for each parameter."""
        self.nominal: FloatArray = np.array([entry.nominal for entry in self._entries], dtype=np.float64)
        """The model's own values ``[np]``."""
        for label in [name.removeprefix("link_density:") for name in self.names if name.startswith("link_density:")]:
            for other in self.names:
                if other == f"link_mass:{label}" or other.startswith(f"link_inertia:{label}."):
                    raise ValueError(f"link_density:{label} sets what {other} sets; select one of them")

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Parameters({self.model.name!r}, {list(self.names)!r})"

    @staticmethod
    def available(model: RigidModel) -> tuple[str, ...]:
        """Names of all parameters of a model."""
        return tuple(name for kind in KINDS for name in dict.fromkeys(entry.name for entry in _of_kind(model, kind)))

    def kinds(self) -> tuple[str, ...]:
        """The kinds of parameters that the model has, all but ``link_density``, which others cover."""
        found = (name.split(":")[0] for name in self.available(self.model))
        return tuple(dict.fromkeys(kind for kind in found if kind != "link_density"))

    def index(self, name: str) -> int:
        """Column of a parameter in an array ``[N, np]``.

        Raises:
            ValueError: for an unknown name, with the nearest ones.
        """
        if name not in self.names:
            raise ValueError(_unknown(name, self.names))
        return self.names.index(name)

    def check(self, values: Any) -> None:
        """Raise unless ``values``, NumPy numbers ``[np]`` or ``[N, np]``, are such as a model can have.

        Raises:
            ValueError: naming the first parameter that is not finite, below its bound, or an inertia that is not
                positive definite.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.ndim not in (1, 2) or values.shape[-1] != len(self):
            raise ValueError(f"params has shape {values.shape}, expected [{len(self)}] or [N, {len(self)}]")
        rows = values.reshape(-1, len(self))
        for j, entry in enumerate(self._entries):
            bad = ~np.isfinite(rows[:, j]) | (rows[:, j] < entry.lower) | (entry.open & (rows[:, j] == entry.lower))
            if bad.any():
                bound = f"{'greater than' if entry.open else 'at least'} {entry.lower:g}"
                wanted = "finite" if np.isinf(entry.lower) else f"finite and {bound}"
                raise ValueError(f"{entry.name} is {rows[bad, j][0]:g}: give a number that is {wanted}")
        if any(name.startswith("link_inertia:") for name in self.names):
            for row in rows:
                check_inertia(self.apply(row))

    def apply(self, values: Any) -> RigidModel:
        """The model with these values ``[np]``: what a world with them simulates."""
        fields = {name: np.array(getattr(self.model, name), dtype=np.float64) for name in _FIELDS}
        gains = {f"pair_{name}": np.array(getattr(self.model.pairs, name)) for name in ("kn", "kd", "kt", "mu")}
        fields |= gains | {"loop_pos": np.array(self.model.loops.pos)}
        for entry, value in zip(self._entries, np.asarray(values, dtype=np.float64), strict=True):
            entry.write(fields, float(value))
        pairs = replace(self.model.pairs, **{name.removeprefix("pair_"): fields.pop(name) for name in gains})
        loops = replace(self.model.loops, pos=fields.pop("loop_pos"))
        return replace(self.model, pairs=pairs, loops=loops, **fields)  # pyright: ignore[reportArgumentType]

    def plain(self) -> Parameters:
        """The same model with no inputs."""
        return Parameters(self.model, ())

    def pack(self, backward_smoothing: float | None = None) -> PackedModel:
        """The model for the engine, whose reals are ``constant + slopes @ params``.

        The slopes are read off packed models: what parameters set enters them linearly.
        """
        if not self:
            return pack(self.model, backward_smoothing)
        count = len(self)
        constant = pack(self.apply(np.zeros(count)), backward_smoothing).reals
        slopes = np.stack([pack(self.apply(row), backward_smoothing).reals for row in np.eye(count)], axis=1)
        slopes -= constant[:, None]
        expected = pack(self.model, backward_smoothing).reals
        if not np.allclose(constant + slopes @ self.nominal, expected, rtol=1e-9, atol=1e-9):
            raise ValueError(f"{self!r} do not enter the packed model linearly")
        # with ones, no spring counts as absent
        return with_inputs(pack(self.apply(np.ones(count)), backward_smoothing), constant, slopes)


def check_inertia(model: RigidModel) -> None:
    """Raise ``ValueError`` naming a link that has mass and an inertia with a negative principal moment."""
    for i, name in _links(model):
        moments = np.linalg.eigvalsh(model.link_inertia[i])
        moment = moments[0]
        if moment < -1e-9 * moments[2]:  # a rod's is zero, give or take its rounding
            raise ValueError(f"link_inertia:{name} has the principal moment {moment:g}: give a positive definite one")


def _of_kind(model: RigidModel, kind: str) -> list[_Entry]:
    """Every parameter of a kind, once for each of its labels, under its first."""
    about = KINDS[kind]
    return [
        _Entry(f"{kind}:{labels[0]}", float(nominal), about.lower, about.open, write)
        for labels, nominal, write in about.entries(model)
        for _ in labels
    ]


def _select(model: RigidModel, name: str) -> list[_Entry]:
    kind, _, pattern = name.partition(":")
    if kind not in KINDS:
        raise ValueError(_unknown(name, [*KINDS, *Parameters.available(model)]))
    labels = [label for labels, *_ in KINDS[kind].entries(model) for label in labels]
    chosen = [entry for label, entry in zip(labels, _of_kind(model, kind), strict=True) if _fits(label, pattern)]
    if not chosen:
        if kind.startswith("link_") and (way := _welded(model, kind, pattern.partition(".")[0])):
            raise ValueError(way)
        raise ValueError(_unknown(name, [f"{kind}:{label}" for label in labels]))
    return list({entry.name: entry for entry in chosen}.values())


def _welded(model: RigidModel, kind: str, body: str) -> str | None:
    """What to do about a body that is welded to another one, if this is one."""
    for i in range(model.nl):
        first, *others = _bodies(model, i) or [""]
        if body in others:
            return (
                f"{kind}:{body}: body {body!r} is welded to {first!r}, and the engine has one mass, centre and inertia "
                f"for both; select {kind}:{first}, or give {body!r} a joint (with a high stiffness, say)"
            )
    return None


def _fits(label: str, pattern: str) -> bool:
    """``BODY`` also fits ``BODY.x``."""
    return not pattern or label == pattern or label.startswith(f"{pattern}.") or fnmatchcase(label, pattern)


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"unknown model parameter {name!r}{hint} Known: {shown or 'none of this kind in this model'}"
