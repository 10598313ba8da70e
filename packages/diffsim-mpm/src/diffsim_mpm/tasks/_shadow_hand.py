"""A right hand with 24 joints: the published kinematics of the Shadow Dexterous Hand, in capsules and boxes.

Lengths of links and ranges of joints are those of the maker's technical specification (Shadow Robot Company, "Shadow
Dexterous Hand Technical Specification", kinematic diagram and table of ranges); thicknesses are ours. Each finger's
two last joints move by themselves, as in the model of the paper's task, where the real hand couples them.

In the frame of the palm, z points from the wrist to the fingers, x to the side of the thumb, and -y out of the palm.
"""

from __future__ import annotations

import math
from typing import Any

from diffsim_mpm.chain import Joint, KinematicChain
from diffsim_mpm.shapes import Box, Capsule, Shape

MM = 1e-3
WRIST, KNUCKLE = 34 * MM, 99 * MM
"""From the wrist's first axis to its second one, and from there to the knuckle of the middle finger [m]."""
PROXIMAL, MIDDLE, DISTAL = 45 * MM, 25 * MM, 26 * MM
"""Lengths of a finger's links [m]."""
_RADII = (10 * MM, 8.5 * MM, 7.5 * MM)
_FINGERS = {"FF": (33 * MM, 95 * MM), "MF": (11 * MM, 99 * MM), "RF": (-11 * MM, 95 * MM)}
"""Places of the knuckles along x and z, that of the little finger aside."""
_LITTLE = (-33 * MM, 20.7 * MM, 65.9 * MM)
"""Of the little finger's metacarpal along x and z, and from there to its knuckle."""
_THUMB_AT, _THUMB = (34 * MM, -8.6 * MM, 29 * MM), (38 * MM, 32 * MM, 27.5 * MM)
_THUMB_RADII = (12 * MM, 10.5 * MM, 9 * MM)
_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def shadow_hand(
    pos: tuple[float, float, float],
    quat: tuple[float, float, float, float],
    *,
    scale: float = 1.0,
    friction: float = 0.5,
    softness: float = 666.0,
) -> KinematicChain:
    """The hand, with its wrist's first axis at a place in the world.

    Args:
        pos: of that axis [m].
        quat: orientation of the forearm, wxyz.
        scale: by which all lengths are multiplied.
        friction: of all shapes.
        softness: of all shapes [1/m].
    """
    hand = _Hand(scale, friction, softness)
    hand.joint("WRJ1", None, pos, _Y, (-28, 8), quat=quat, scaled=False)
    hand.capsule("wrist", "WRJ1", (0, 0, 0.5 * WRIST), 14 * MM, 10 * MM)
    hand.joint("WRJ0", "WRJ1", (0, 0, WRIST), _X, (-40, 28))
    hand.box("palm", "WRJ0", (11 * MM, 0, 50 * MM), (32 * MM, 11 * MM, 40 * MM))
    hand.box("heel", "WRJ0", (0, 0, 14 * MM), (26 * MM, 11 * MM, 14 * MM))
    for finger, (x, z) in _FINGERS.items():
        hand.finger(finger, "WRJ0", (x, 0, z))
    x, z, length = _LITTLE
    hand.joint("LFJ4", "WRJ0", (x, 0, z), (0.571, 0, 0.821), (0, 45))
    hand.box("LF metacarpal", "LFJ4", (0, 0, 0.5 * length), (10 * MM, 11 * MM, 0.45 * length))
    hand.finger("LF", "LFJ4", (0, 0, length))
    hand.thumb()
    return KinematicChain(tuple(hand.joints), tuple(hand.shapes))


class _Hand:
    """Joints and shapes, in the order in which they are added; lengths given in the hand's own size."""

    def __init__(self, scale: float, friction: float, softness: float) -> None:
        self.scale = scale
        self.common: dict[str, Any] = {"friction": friction, "softness": softness}
        self.joints: list[Joint] = []
        self.shapes: list[Shape] = []

    def joint(
        self,
        name: str,
        parent: str | None,
        pos: tuple[float, float, float],
        axis: tuple[float, float, float],
        degrees: tuple[float, float],
        *,
        quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0),
        scaled: bool = True,
    ) -> None:
        low, high = map(math.radians, degrees)
        x, y, z = (self.scale * a if scaled else a for a in pos)
        self.joints.append(Joint(name=name, parent=parent, pos=(x, y, z), quat=quat, axis=axis, limits=(low, high)))

    def capsule(
        self, name: str, joint: str, pos: tuple[float, float, float], radius: float, half_length: float
    ) -> None:
        x, y, z = (self.scale * a for a in pos)
        size = {"radius": self.scale * radius, "half_length": self.scale * half_length}
        self.shapes.append(Capsule(name=name, joint=joint, pos=(x, y, z), **size, **self.common))

    def box(
        self, name: str, joint: str, pos: tuple[float, float, float], half_sizes: tuple[float, float, float]
    ) -> None:
        at, half = (tuple(self.scale * a for a in each) for each in (pos, half_sizes))
        self.shapes.append(Box(name=name, joint=joint, pos=at, half_sizes=half, **self.common))

    def link(self, name: str, joint: str, length: float, radius: float) -> None:
        """A capsule along z, from a joint to the next."""
        self.capsule(name, joint, (0, 0, 0.5 * length), radius, 0.5 * length - 0.2 * radius)

    def finger(self, name: str, parent: str, knuckle: tuple[float, float, float]) -> None:
        """To the side, then three joints that bend it."""
        self.joint(f"{name}J3", parent, knuckle, _Y, (-20, 20))
        self.joint(f"{name}J2", f"{name}J3", (0, 0, 0), _X, (-15, 90))
        self.link(f"{name} proximal", f"{name}J2", PROXIMAL, _RADII[0])
        self.joint(f"{name}J1", f"{name}J2", (0, 0, PROXIMAL), _X, (0, 90))
        self.link(f"{name} middle", f"{name}J1", MIDDLE, _RADII[1])
        self.joint(f"{name}J0", f"{name}J1", (0, 0, MIDDLE), _X, (0, 90))
        self.link(f"{name} distal", f"{name}J0", DISTAL, _RADII[2])

    def thumb(self) -> None:
        """Five joints: it turns about itself, bends towards the palm twice, and then in the plane of the palm."""
        turned = (math.cos(math.pi / 8), 0.0, math.sin(math.pi / 8), 0.0)  # 45 degrees about y, away from the fingers
        self.joint("THJ4", "WRJ0", _THUMB_AT, _Z, (-60, 60), quat=turned)
        self.joint("THJ3", "THJ4", (0, 0, 0), _X, (0, 70))
        self.link("TH proximal", "THJ3", _THUMB[0], _THUMB_RADII[0])
        self.joint("THJ2", "THJ3", (0, 0, _THUMB[0]), _X, (-12, 12))
        self.joint("THJ1", "THJ2", (0, 0, 0), _Y, (-30, 30))
        self.link("TH middle", "THJ1", _THUMB[1], _THUMB_RADII[1])
        self.joint("THJ0", "THJ1", (0, 0, _THUMB[1]), _Y, (-90, 0))
        self.link("TH distal", "THJ0", _THUMB[2], _THUMB_RADII[2])
