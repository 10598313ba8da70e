"""``Sensors``: poses, velocities and contact forces of a robot as differentiable functions of its state."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from diffsim_core._buffer import Buffer
from diffsim_core._interop import differentiable
from diffsim_core._protocol import Array, ArraySpec, PyTree
from diffsim_core._remade import Remade
from diffsim_core.native import Launch, Launcher, scalar
from diffsim_core.rigid._kernels import SizeClass
from diffsim_core.rigid._pack_contact import plain_points
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid._sensor_kernels import sensor_kernels
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.model import RigidModel

KINDS = ("position", "quaternion", "velocity", "angular_velocity", "velocimeter", "gyro", "contact_force")
"""In the order of ``_source/sensors.h``."""


class _Reading(NamedTuple):
    values: Any


class _Frame(NamedTuple):
    link: int
    pos: Any
    quat: Any


class Sensors(Remade):
    """Quantities of a task's robot, for observations and rewards.

    A sensor is named ``kind:label`` with the label of a body, site or geom (or ``site/NAME`` and so on where
    several share one):

    - ``position``: its origin in the world [m], 3 numbers;
    - ``quaternion``: its attitude, wxyz, 4 numbers, continuous along the coordinates;
    - ``velocity``: of its origin, world axes [m/s];
    - ``angular_velocity``: world axes [rad/s];
    - ``velocimeter``, ``gyro``: the same two in its own axes;
    - ``contact_force``: what level ground exerts on a geom, or on all geoms of a body's link, world axes [N].

    Call it with a physics state: ``sensors(physics)`` is ``[N, num_outputs]``, differentiable in torch and JAX, and
    ``sensors.columns[name]`` a slice of it. Conventions are MuJoCo's ``framepos``, ``framequat``, ``framelinvel`` and
    ``frameangvel`` (of ``xbody``), ``velocimeter`` and ``gyro``.

    Args:
        dynamics: the simulator; number type and device are its own.
        names: what to read, in the order of the outputs.

    Raises:
        ValueError: for an unknown name (with the nearest known ones), something fixed to the world, a geom that does
            not touch level ground, or contact forces of a model whose contact parameters are inputs.
    """

    state_type = _Reading

    def __init__(self, dynamics: RigidDynamics, names: Iterable[str]) -> None:
        self.names: tuple[str, ...] = (names,) if isinstance(names, str) else tuple(names)
        if not self.names:
            raise ValueError("sensors: give at least one name, for instance 'position:torso'")
        model = dynamics.model
        self.device, self.dtype, self.dt = dynamics.device, dynamics.dtype, dynamics.dt
        self.columns: dict[str, slice] = {}
        """Where in the output each sensor is."""
        rows: list[tuple[int, int, int, int]] = []
        frames: list[_Frame] = []
        start = 0
        for name in self.names:
            kind, contacts, frame = _found(dynamics, name)
            for contact in contacts:
                link = frame.link if contact < 0 else int(model.contact_link[plain_points(model)][contact])
                rows.append((KINDS.index(kind), link, start, contact))
                frames.append(frame)
            self.columns[name] = slice(start, start + (4 if kind == "quaternion" else 3))
            start = self.columns[name].stop
        self.num_outputs = start
        self.state_spec = (ArraySpec("q", (model.nq,)), ArraySpec("qd", (model.nv,)))
        self.control_spec = ()
        self.out_spec = (ArraySpec("values", (start,)),)
        tables = [np.concatenate([f.pos, f.quat, rotation(f.quat).T.ravel()]) for f in frames]
        integers = np.concatenate([[len(rows), start], np.array(rows).ravel()]).astype(np.int32)
        reals = np.concatenate([*tables, model.link_quat.ravel()]).astype(self.dtype)
        on_cuda = self.device.startswith("cuda")
        dofs, coupled = model.nv + len(model.couplings), len(model.couplings) > 0
        size = SizeClass.of(model.nl, dofs, 1, model.nu, on_cuda=on_cuda).with_types(model)
        size = dataclasses.replace(size, couplings=coupled)
        kernels = sensor_kernels(self.dtype, on_cuda, size, -(-start // 64) * 64)
        packed = dynamics.parameters.plain().pack(dynamics.backward_smoothing)
        real = scalar(self.dtype)
        self._tables = {
            "integers": wp.array(packed.integers, dtype=wp.int32, device=self.device),
            "reals": wp.array(packed.reals.astype(self.dtype), dtype=real, device=self.device),
            "sensor_integers": wp.array(integers, dtype=wp.int32, device=self.device),
            "sensor_reals": wp.array(reals, dtype=real, device=self.device),
        }
        addresses = {name: table.ptr or 0 for name, table in self._tables.items()}
        stack = size.local_bytes(self.dtype, kernels.lanes)
        launcher = Launcher(kernels, device=self.device, constants=addresses, threads=1, stack=stack)
        self._sense = launcher.program(Launch("sense"), given=("q", "qd", "values"))
        self._sense_vjp = launcher.program(Launch("sense_vjp"), given=("q", "qd", "gvalues", "gq", "gqd"))
        self._read = differentiable(self)

    def __call__(self, physics: PyTree) -> Array:
        """``[N, num_outputs]`` of a state with ``q`` and ``qd``."""
        return self._read((physics.q, physics.qd), ())[0].values

    def saved_size(self, num_worlds: int) -> int:
        """Nothing is kept but the state; one number, for libraries that know no empty arrays."""
        return 1

    def step(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        out: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer | None,
    ) -> None:
        """Write the values to ``out``; every world is ``ok``."""
        (q, qd), (values,) = state, out
        self._sense.run(q.shape[0], 1, (q.ptr, qd.ptr, values.ptr))
        wp.array(ptr=ok.ptr, shape=ok.shape, dtype=wp.int32, device=self.device).fill_(1)

    def vjp(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer,
        out_cotangent: Sequence[Buffer],
        in_cotangent: Sequence[Buffer],
    ) -> None:
        """Write the cotangents of the state."""
        (q, qd), (values,), (gq, gqd) = state, out_cotangent, in_cotangent
        self._sense_vjp.run(q.shape[0], 1, (q.ptr, qd.ptr, values.ptr, gq.ptr, gqd.ptr))


def _found(dynamics: RigidDynamics, name: str) -> tuple[str, list[int], _Frame]:
    """Kind, contact points (-1 for a sensor of motion) and frame of a sensor."""
    model = dynamics.model
    kind, _, label = name.partition(":")
    known = {
        **{f"geom/{geom.name}": geom for geom in model.geoms},
        **{f"site/{site.name}": site for site in model.sites},
        **{f"body/{body.name}": body for body in model.bodies},
    }
    short = {key.partition("/")[2]: key for key in known}
    key = label if label in known else short.get(label)
    if kind not in KINDS or key is None:
        near = difflib.get_close_matches(name, [f"{k}:{x}" for k in KINDS for x in short], n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
        raise ValueError(f"unknown sensor {name!r}{hint} Known: {', '.join(KINDS)} of {', '.join(list(short)[:20])}")
    found = known[key]
    if found.link < 0:
        raise ValueError(f"sensor {name!r}: {label!r} is fixed to the world and does not move")
    frame = _Frame(found.link, found.pos, found.quat / np.linalg.norm(found.quat))
    if kind != "contact_force":
        return kind, [-1], frame
    return kind, _contacts(dynamics, name, key, found.link), frame


def _contacts(dynamics: RigidDynamics, name: str, key: str, link: int) -> list[int]:
    model: RigidModel = dynamics.model
    if any(parameter.startswith("contact_") for parameter in dynamics.parameters.names):
        raise ValueError(f"sensor {name!r}: contact parameters are inputs here, which sensors do not read")
    if key.startswith("site/"):
        raise ValueError(f"sensor {name!r}: a site touches nothing; name a geom or a body")
    plain = plain_points(model)
    geoms = np.array(model.contact_geom)
    chosen = geoms == key.partition("/")[2] if key.startswith("geom/") else model.contact_link == link
    if not chosen.any() or not np.isin(np.flatnonzero(chosen), plain).all():
        raise ValueError(f"sensor {name!r}: it has no contact points, or not with level ground alone")
    return np.flatnonzero(chosen[plain]).tolist()
