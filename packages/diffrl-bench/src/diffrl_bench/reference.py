"""Our tasks against recorded trajectories of the simulator that the SHAC paper released.

The recordings are not part of this project. A folder holds ``NAME_mm1.npz`` files (mass matrix rebuilt at every
sub-step) with the arrays ``q0, qd0, actions, q, qd, reward, grad_actions`` of a few worlds over a few control steps.
That simulator has y up, quaternions xyzw, and the free joint's velocity as a twist at the world's origin.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILES = {
    "cartpole": "CartPoleSwingUpEnv_mm1.npz",
    "hopper": "HopperEnv_mm1.npz",
    "half_cheetah": "CheetahEnv_mm1.npz",
    "ant": "AntEnv_mm1.npz",
    "humanoid": "HumanoidEnv_mm1.npz",
}
FREE_ROOT = frozenset({"ant", "humanoid"})

_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_Z_UP_QUAT = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])


@dataclass(frozen=True)
class Agreement:
    """How closely one task follows its recording."""

    task: str
    position_error_first: float
    """Largest difference of any generalised position after one control step [m, rad, quaternion entries]."""
    position_error_last: float
    """The same after the last one."""
    steps: int
    reward_error: float
    """Relative difference of the summed rewards."""
    gradient_cosine: float
    """Cosine between the two gradients of the summed rewards by all actions."""
    gradient_norm_ratio: float


def compare(task: str, folder: Path, dtype: str = "float64") -> Agreement:
    """Replay a recording's actions from its initial states and compare.

    Raises:
        ValueError: if there is no recording of ``task``, or its file is not in ``folder``.
    """
    import torch

    from diffsim_core import make

    if task not in FILES:
        raise ValueError(f"no recording is known for task {task!r}; there are {', '.join(sorted(FILES))}")
    path = folder / FILES[task]
    if not path.is_file():
        raise ValueError(f"{path} does not exist; pass the folder that holds {FILES[task]}")
    with np.load(path, allow_pickle=False) as archive:
        data = {name: archive[name].astype(np.float64) for name in archive.files}
    convert = _from_y_up if task in FREE_ROOT else lambda q, qd: (q, qd)
    q0, qd0 = convert(data["q0"], data["qd0"])
    expected, _ = convert(data["q"], data["qd"])

    kind = getattr(torch, dtype)
    env: Any = make(task, num_envs=len(q0), dtype=dtype)
    state, _ = env.reset(0)
    physics = type(state.physics)(torch.tensor(q0, dtype=kind), torch.tensor(qd0, dtype=kind))
    state = state._replace(physics=physics)
    actions = torch.tensor(data["actions"], dtype=kind, requires_grad=True)
    errors, total = [], torch.zeros((), dtype=kind)
    for t, action in enumerate(actions):
        state, transition = env.step(state, action)
        total = total + transition.reward.sum()
        found = _same_sign(state.physics.q.detach().numpy(), expected[t], task in FREE_ROOT)
        errors.append(float(np.abs(found - expected[t]).max()))
    (gradient,) = torch.autograd.grad(total, actions)
    ours, theirs = gradient.numpy().ravel(), data["grad_actions"].ravel()
    recorded = data["reward"].sum()
    return Agreement(
        task=task,
        position_error_first=errors[0],
        position_error_last=errors[-1],
        steps=len(actions),
        reward_error=float(abs(float(total.detach()) - recorded) / abs(recorded)),
        gradient_cosine=float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)),
        gradient_norm_ratio=float(np.linalg.norm(ours) / np.linalg.norm(theirs)),
    )


def run(folder: Path, tasks: list[str] | None = None) -> list[dict[str, Any]]:
    """``compare`` for each task, as JSON-ready rows."""
    return [asdict(compare(task, folder)) for task in tasks or sorted(FILES)]


def _from_y_up(q: Any, qd: Any) -> tuple[Any, Any]:
    position = q[..., :3] @ _Z_UP.T
    quat = _multiply(np.broadcast_to(_Z_UP_QUAT, q[..., 3:7].shape), q[..., [6, 3, 4, 5]])
    omega, at_origin = qd[..., :3] @ _Z_UP.T, qd[..., 3:6] @ _Z_UP.T
    velocity = at_origin + np.cross(omega, position)
    body_omega = _rotate_back(quat, omega)
    return (
        np.concatenate([position, quat, q[..., 7:]], axis=-1),
        np.concatenate([velocity, body_omega, qd[..., 6:]], axis=-1),
    )


def _multiply(a: Any, b: Any) -> Any:
    w = a[..., :1] * b[..., :1] - (a[..., 1:] * b[..., 1:]).sum(-1, keepdims=True)
    v = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + np.cross(a[..., 1:], b[..., 1:])
    return np.concatenate([w, v], axis=-1)


def _rotate_back(quat: Any, v: Any) -> Any:
    u = -quat[..., 1:]
    t = 2 * np.cross(u, v)
    return v + quat[..., :1] * t + np.cross(u, t)


def _same_sign(q: Any, like: Any, free_root: bool) -> Any:
    if not free_root:
        return q
    sign = np.where((q[..., 3:7] * like[..., 3:7]).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    return np.concatenate([q[..., :3], sign * q[..., 3:7], q[..., 7:]], axis=-1)
