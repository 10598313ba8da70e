"""A joint and a contact law that the package does not have: one header and one entry each, as a user adds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffsim_core.rigid import ContactLaw, Gains, Joint, Placed, register_contact_law, register_joint, twin

HEADERS = Path(__file__).with_name("headers")


def _screw(model, i, q, R, x):
    angle, (pitch, *_) = q[0] - model.q_ref[model.joint_q[i]], model.joint_parameters[i]
    axis = R @ model.joint_axis[i]
    S = np.concatenate([axis, np.cross(x, axis) + pitch * axis])
    half = 0.5 * angle
    turn = twin.rotation_matrix(np.concatenate([[np.cos(half)], np.sin(half) * model.joint_axis[i]]))
    return Placed(R @ turn, x + pitch * angle * axis, S[:, None])


def _hunt_crossley(gains: Gains, depth: float, u: float) -> tuple[float, float]:
    force = max(gains.kn * (-depth) ** 1.5 * (1 - 1.5 * gains.kd * u), 0.0)
    return force, gains.mu * force


SCREW = Joint(name="screw", header=HEADERS / "screw.h", place=_screw, parameters=("pitch",))
HUNT_CROSSLEY = ContactLaw(
    name="hunt_crossley", header=HEADERS / "hunt_crossley.h", normal=_hunt_crossley, units=("N/m^1.5", "s/m", "")
)
register_joint(SCREW)
register_contact_law(HUNT_CROSSLEY)
