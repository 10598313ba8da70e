"""``RigidModel``: one articulated system as plain arrays, read by the engine, the twin, tasks and viewers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np

from diffsim_core._nearest import unknown
from diffsim_core.rigid.contacts import ContactPairs, HeightField
from diffsim_core.rigid.couplings import Couplings
from diffsim_core.rigid.fluid import Fluid
from diffsim_core.rigid.hulls import Hull
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.limits import LIMIT_LAWS as LIMIT_LAWS
from diffsim_core.rigid.loops import Loops
from diffsim_core.rigid.muscles import Muscles
from diffsim_core.rigid.tendons import Tendons

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

UNBOUNDED = 1e30
"""A bound that is never met, in float32 too."""


class JointType(IntEnum):
    """Numbers of the joint types that are always there; ``JOINTS`` has every type, registered ones too."""

    FREE = JOINTS.index("free")
    BALL = JOINTS.index("ball")
    SLIDE = JOINTS.index("slide")
    HINGE = JOINTS.index("hinge")

    @property
    def nq(self) -> int:
        return JOINTS.at(self).nq

    @property
    def nv(self) -> int:
        return JOINTS.at(self).nv


@dataclass(frozen=True, kw_only=True)
class Geom:
    """A shape fixed to a link, for drawing; contact uses the points of ``RigidModel.contact_*``."""

    name: str
    type: str
    """``sphere``, ``capsule``, ``box``, ``plane``, ``cylinder``, ``ellipsoid`` or ``mesh``."""
    link: int
    """Index of the link it moves with; -1 is the world."""
    pos: FloatArray
    """Centre in the link's frame [m], ``[3]``."""
    quat: FloatArray
    """Orientation in the link's frame, wxyz ``[4]``."""
    size: FloatArray
    """MuJoCo's size parameters [m]: sphere r; capsule r, half length (along local z); box half extents."""
    rgba: FloatArray
    hull: Hull | None = None
    """Of a mesh that may touch something."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """A named body of the model file: where it sits on the link that carries it."""

    name: str
    link: int
    """Index of the link it moves with; -1 is the world."""
    pos: FloatArray
    """Origin in the link's frame [m]."""
    quat: FloatArray
    """Orientation in the link's frame, wxyz."""
    mass: float


@dataclass(frozen=True, kw_only=True)
class Site:
    """A named place of the model file, fixed to a link."""

    name: str
    link: int
    """Index of the link it moves with; -1 is the world."""
    pos: FloatArray
    """Origin in the link's frame [m]."""
    quat: FloatArray
    """Orientation in the link's frame, wxyz."""


@dataclass(frozen=True, kw_only=True)
class RigidModel:
    """An articulated system of ``nl`` links, ``nq`` coordinates and ``nv`` degrees of freedom.

    One *link* is one joint and everything that moves rigidly behind it, so a body with three hinges is
    a chain of three links of which the first two have no mass. Links are ordered parents first; -1 is
    the world. A link's frame sits at its joint's anchor and, at the reference position, is oriented
    as ``link_pos``/``link_quat`` say in its parent link's frame.

    Coordinates and velocities follow MuJoCo: a free joint has position (3, world) and quaternion
    (wxyz), velocity linear (3, world) then angular (3, body frame); a ball joint quaternion and angular
    velocity in the child's frame; slide [m] and hinge [rad] joints are relative to ``q_ref``.
    A free joint's link frame is its body's frame. z is up.
    """

    name: str

    # links and joints, [nl]
    link_parent: IntArray
    joint_type: IntArray
    """Number of each joint's type in ``diffsim_core.rigid.JOINTS``."""
    joint_q: IntArray
    """First coordinate of each joint; from ``nq`` on for those that follow others, see ``couplings``."""
    joint_dof: IntArray
    """First degree of freedom of each joint; from ``nv`` on for those that follow others."""
    joint_name: tuple[str, ...]
    link_pos: FloatArray
    """``[nl, 3]`` joint anchor in the parent link's frame [m] (free joint: zero)."""
    link_quat: FloatArray
    """``[nl, 4]`` orientation in the parent link's frame at the reference position, wxyz."""
    joint_axis: FloatArray
    """``[nl, 3]`` unit axis in the link's frame (slide, hinge and others with an axis); zero otherwise."""
    link_mass: FloatArray
    """``[nl]`` [kg]; zero for the inner links of a body with several joints."""
    link_com: FloatArray
    """``[nl, 3]`` centre of mass in the link's frame [m]."""
    link_inertia: FloatArray
    """``[nl, 3, 3]`` inertia about the centre of mass, link axes [kg m^2]."""

    # joint springs and limits, [nl] unless said otherwise
    q_ref: FloatArray
    """``[nq]`` coordinates at which the links sit as ``link_pos``/``link_quat`` say; the initial pose."""
    q_spring: FloatArray
    """``[nq + n]`` rest coordinates of the joint springs; the last are those of the n followers in ``couplings``."""
    joint_stiffness: FloatArray
    """[N/m] or [N m/rad]; zero for free joints."""
    joint_limited: IntArray
    """1 where ``joint_range`` holds (slide and hinge joints only)."""
    joint_range: FloatArray
    """``[nl, 2]`` lower and upper bound [m] or [rad]."""
    limit_stiffness: FloatArray
    """k_limit of Eq. 4 of the SHAC paper [N/m] or [N m/rad]."""
    limit_damping: FloatArray
    """[N s/m] or [N m s/rad]; where it acts is ``limit_law``'s choice."""
    dof_damping: FloatArray
    """``[nv + n]`` viscous damping [N s/m] or [N m s/rad]."""
    dof_armature: FloatArray
    """``[nv + n]`` added to the diagonal of the mass matrix [kg] or [kg m^2]."""

    # actuators, [nu]: generalised force = gear * control on one degree of freedom, plus that of their servos
    actuator_dof: IntArray
    actuator_gear: FloatArray
    """[N] or [N m] for a control of one; zero where servos do the work."""
    actuator_range: FloatArray
    """``[nu, 2]`` control range; an action in [-1, 1] spans it. ``UNBOUNDED`` where nothing bounds the control."""
    actuator_name: tuple[str, ...]

    # contact points against the ground, [nc]
    contact_link: IntArray
    contact_pos: FloatArray
    """``[nc, 3]`` in the link's frame [m]: centre of a sphere, capsule end or ellipsoid, or a box corner."""
    contact_radius: FloatArray
    """[m]; zero for box corners; of ellipsoids the width that is put around them. ``margin`` is part of it."""
    contact_kn: FloatArray
    """Normal stiffness k_n [N/m] of Eq. 3."""
    contact_kd: FloatArray
    """Normal damping k_d [N s/m^2] of Eq. 3: it multiplies depth times approach speed."""
    contact_kt: FloatArray
    """Tangential (stick) damping k_t [N s/m] of Eq. 3."""
    contact_mu: FloatArray
    """Friction coefficient."""
    contact_geom: tuple[str, ...]
    """Name of the shape each point belongs to."""
    ground_height: float
    """z of the ground plane [m]; unused with a ``ground_field``."""

    gravity: FloatArray
    """``[3]`` [m/s^2]."""
    contact_law: str = "paper"
    """Name in ``diffsim_core.rigid.CONTACT_LAWS``. ``"paper"``: Eq. 3 as printed. ``"released"``: the released code's,
    whose damping acts only while approaching and whose friction bound leaves the damping out."""
    limit_law: str = "paper"
    """``"paper"``: Eq. 4, a spring. ``"released"``: the spring, and ``limit_damping`` acting always on every
    slide and hinge joint, limited or not. ``"damped"``: the spring, and ``limit_damping`` beyond the range alone, where
    it sets in over ``limit_onset``."""

    dof_friction: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[nv]`` dry friction [N] or [N m], smoothed: ``-f tanh(qd / friction_width)``. It creeps under load."""
    friction_width: float = 0.02
    """Speed [m/s] or [rad/s] at which dry friction has three quarters of its force."""

    joint_parameters: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    """``[nl, k]`` numbers that a joint's type has beyond these fields, in the order of ``Joint.parameters``."""

    # servos, [ns]: generalised force = clamp(gain * control + bias . (1, q, qd), range) on one degree of freedom
    servo_actuator: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Index of the actuator each belongs to: one with a bias or a bounded force, or on a ball or free joint, where
    it has a servo for each degree of freedom it acts on."""
    servo_dof: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    servo_gain: FloatArray = field(default_factory=lambda: np.zeros(0))
    """[N] or [N m] for a control of one."""
    servo_bias: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    """``[ns, 3]`` constant, by the joint's coordinate and by its velocity; only the constant on ball and free joints.
    A position servo has (0, -kp, -kv), a velocity servo (0, 0, -kv), both times the squared gear."""
    servo_range: FloatArray = field(default_factory=lambda: np.zeros((0, 2)))
    """``[ns, 2]`` bounds of the generalised force [N] or [N m], ``UNBOUNDED`` where there is none."""
    servo_total_range: FloatArray = field(default_factory=lambda: np.zeros((0, 2)))
    """``[ns, 2]`` bounds of the sum of all servos of the same degree of freedom, which all say the same; left out if
    there are none."""

    # contact beyond plain points on a plane
    contact_kind: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """``[nc]``, see ``PointKind``; all points are ``ROUND`` if left out."""
    contact_size: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    """``[nc, 3]`` semi-axes of an ellipsoid [m]."""
    contact_quat: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))
    """``[nc, 4]`` attitude of an ellipsoid in the link's frame, wxyz."""
    ground_field: HeightField | None = None
    """Ground that is not level, in place of the plane."""
    ground_planes: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))
    """``[n, 4]`` unit normal of each further plane, and its distance from the origin along it [m]."""
    contact_plane: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """``[nc]`` which of ``ground_planes`` each point touches; -1, if left out for all, is the ground."""
    contact_ratio: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[nc]`` friction along the second tangent of a plane as a part of ``contact_mu``; one if left out. The first is
    that one of the y axis, or of the z axis for a normal near y, without its part along the normal."""
    contact_spin: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[nc]`` radius [m] at which friction also brakes turning about the normal; zero, if left out, for none."""
    contact_roll: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[nc]`` radius [m] at which friction also brakes rolling, turning across the normal."""
    contact_lever: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[nc]`` lever [m] of the slip that turning is: it sticks where a point that far away would; 0.1 if left out."""
    pairs: ContactPairs = field(default_factory=ContactPairs.none)
    """Shapes of different links that may touch; none unless the loader was asked."""
    contact_smoothing: float = 0.0
    """Width w [m] over which contact begins: ``min(d, 0)`` of Eq. 3 becomes ``-(w - d)^2 / 4w`` for ``|d| < w``."""

    muscles: Muscles = field(default_factory=Muscles.none)
    """Units that pull along paths; their controls are among the actuators, whose gear is zero there."""
    loops: Loops = field(default_factory=Loops.none)
    """Places of two links that hold together."""
    tendons: Tendons = field(default_factory=Tendons.none)
    """Other forces along paths and sums of joint coordinates: springs, limits, servos, actuators with a state."""

    # gravity compensation and fluid
    link_gravcomp: FloatArray = field(default_factory=lambda: np.zeros(0))
    """``[nl]`` part of each link's weight that an upward force holds; none if left out."""
    link_gravcomp_offset: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    """``[nl, 3]`` where that force acts, from the link's centre of mass in its frame [m], times that part: not zero
    where welded bodies have different parts."""
    fluid: Fluid = field(default_factory=Fluid.none)
    """What the links move in."""

    couplings: Couplings = field(default_factory=Couplings.none)
    """Joints that follow others; see :func:`couple`."""

    bodies: tuple[Body, ...] = ()
    geoms: tuple[Geom, ...] = ()
    sites: tuple[Site, ...] = ()
    notes: tuple[str, ...] = ()
    """What the loader left out on purpose, one sentence each."""

    def __post_init__(self) -> None:
        if len(self.contact_kind) != self.nc:
            if len(self.contact_kind):
                raise ValueError(f"contact_kind has {len(self.contact_kind)} entries: give one for each of {self.nc}")
            object.__setattr__(self, "contact_kind", np.zeros(self.nc, dtype=np.int64))
        for name, blank in (("contact_size", [0.0, 0, 0]), ("contact_quat", [1.0, 0, 0, 0])):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.tile(blank, (self.nc, 1)))
        numbers = {"plane": -1, "ratio": 1.0, "spin": 0.0, "roll": 0.0, "lever": 0.1}
        for name, blank in ((f"contact_{name}", blank) for name, blank in numbers.items()):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(self.nc, blank))
        for name, blank in (("link_gravcomp", 0.0), ("link_gravcomp_offset", [0.0, 0, 0])):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full((self.nl, *np.shape(blank)), blank))
        if not len(self.dof_friction):
            object.__setattr__(self, "dof_friction", np.zeros(self.nv))
        if not len(self.joint_parameters):
            object.__setattr__(self, "joint_parameters", np.zeros((self.nl, 0)))

    def with_joint(self, name: str, kind: str, **parameters: float) -> RigidModel:
        """The same model with a joint of another type, that has as many coordinates and velocities.

        Args:
            name: of the joint.
            kind: name of a type in ``diffsim_core.rigid.JOINTS``.
            parameters: the type's own, all of them.

        Raises:
            ValueError: for an unknown joint or type, other sizes, or parameters that are not the type's.
        """
        if name not in self.joint_name:
            raise ValueError(unknown("joint", name, self.joint_name))
        i, new = self.joint_name.index(name), JOINTS[kind]
        old = JOINTS.at(int(self.joint_type[i]))
        if (new.nq, new.nv, new.world) != (old.nq, old.nv, old.world):
            raise ValueError(
                f"joint {name!r} is of type {old.name!r} with {old.nq} coordinates and {old.nv} velocities, and cannot "
                f"become {kind!r} with {new.nq} coordinates and {new.nv} velocities"
            )
        if set(parameters) != set(new.parameters):
            wanted, given = ", ".join(new.parameters) or "none", ", ".join(sorted(parameters)) or "none"
            raise ValueError(f"joint type {kind!r} needs the parameters {wanted}; got {given}")
        types = np.array(self.joint_type)
        types[i] = JOINTS.index(kind)
        own = np.zeros((self.nl, max(self.joint_parameters.shape[1], len(new.parameters))))
        own[:, : self.joint_parameters.shape[1]] = self.joint_parameters
        own[i] = 0.0
        own[i, : len(new.parameters)] = [parameters[key] for key in new.parameters]
        return replace(self, joint_type=types, joint_parameters=own)

    @property
    def nl(self) -> int:
        """Number of links (equals the number of joints)."""
        return len(self.link_parent)

    @property
    def nq(self) -> int:
        """Number of coordinates."""
        return len(self.q_ref)

    @property
    def nv(self) -> int:
        """Number of degrees of freedom."""
        return len(self.dof_armature) - len(self.couplings)

    @property
    def nu(self) -> int:
        """Number of actuators."""
        return len(self.actuator_dof)

    @property
    def na(self) -> int:
        """Number of activations, of muscles and of actuators with a state."""
        return self.muscles.na + self.tendons.na

    @property
    def ns(self) -> int:
        """Number of servos."""
        return len(self.servo_dof)

    @property
    def nc(self) -> int:
        """Number of contact points."""
        return len(self.contact_link)
