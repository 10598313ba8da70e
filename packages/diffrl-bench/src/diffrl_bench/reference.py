"""Our tasks compared with recorded trajectories of the simulator that SHAC's authors released.

The recordings are not part of this project. Their folder holds ``NAME_mm1.npz`` files (mass matrix rebuilt at every
sub-step) with the arrays ``q0, qd0, actions, q, qd, reward, grad_actions`` of a few worlds over a few control steps.
That simulator has y up, quaternions xyzw, and the free joint's velocity as a twist at the world's origin.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

MUSCLES = "humanoid_mtu"
"""The task that also needs a skeleton and muscles from files of another project."""
FILES = {
    "cartpole": "CartPoleSwingUpEnv_mm1.npz",
    "hopper": "HopperEnv_mm1.npz",
    "half_cheetah": "CheetahEnv_mm1.npz",
    "ant": "AntEnv_mm1.npz",
    "humanoid": "HumanoidEnv_mm1.npz",
    MUSCLES: "SNUHumanoidEnv_mm1.npz",
}
FREE_ROOT = frozenset({"ant", "humanoid", MUSCLES})

_BALL = 1
_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_Z_UP_QUAT = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])
# the muscles' skeleton: x to the left, y up, z forward, to ours
_TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_TURN_BACK = np.array([0.5, -0.5, -0.5, -0.5])
"""Quaternion of the turn from our axes of a body to those of the muscles' skeleton."""


@dataclass(frozen=True)
class Agreement:
    """Errors of one task compared with its recording."""

    task: str
    position_error_first: float
    """Largest difference of any generalised position after one control step [m, rad, quaternion entries]."""
    position_error_last: float
    """The same after the last control step."""
    steps: int
    reward_error: float
    """Relative difference of the summed rewards."""
    gradient_cosine: float
    """Cosine between the two gradients of the summed rewards with respect to all actions."""
    gradient_norm_ratio: float


def compare(task: str, folder: Path, dtype: str = "float64", **options: Any) -> Agreement:
    """Replay a recording's actions from its initial states and compare.

    Args:
        task: name of the task.
        folder: folder of the recordings.
        dtype: ``"float32"`` or ``"float64"``.
        options: options of the task.

    Raises:
        ValueError: there is no recording of ``task``, or its file is not in ``folder``.
    """
    import torch

    from diffsim_core import make

    if task not in FILES:
        raise ValueError(f"task {task!r} has no recording; choose from {', '.join(sorted(FILES))}")
    path = folder / FILES[task]
    if not path.is_file():
        raise ValueError(f"{path} does not exist; pass the folder that holds {FILES[task]}")
    with np.load(path, allow_pickle=False) as archive:
        data = {name: archive[name].astype(np.float64) for name in archive.files}
    kind = getattr(torch, dtype)
    env: Any = make(task, num_envs=len(data["q0"]), dtype=dtype, **options)
    q0, qd0 = _to_our_axes(task, env, data["q0"], data["qd0"])
    expected, _ = _to_our_axes(task, env, data["q"], data["qd"])
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


def run(
    folder: Path, tasks: list[str] | None = None, skeleton: str | None = None, muscles: str | None = None
) -> list[dict[str, Any]]:
    """``compare`` for each task, as JSON-ready rows; by default all, that with muscles only if given its files.

    Raises:
        ValueError: as ``compare``, or ``humanoid_mtu`` is requested without its files.
    """
    files: dict[str, Any] = {"skeleton": skeleton, "muscles": muscles}
    given = [name for name, path in files.items() if path is not None]
    if tasks is None:
        tasks = [task for task in sorted(FILES) if task != MUSCLES or given]
    if MUSCLES in tasks and len(given) < 2:
        raise ValueError(f"{MUSCLES} is recorded with its authors' legs: pass --skeleton and --muscles")
    return [asdict(compare(task, folder, **(files if task == MUSCLES else {}))) for task in tasks]


def _to_our_axes(task: str, env: Any, q: Any, qd: Any) -> tuple[Any, Any]:
    """Coordinates and velocities of a recording in our conventions."""
    if task not in FREE_ROOT:
        return q, qd
    q, qd = _from_y_up(q, qd)
    return _turn_bodies(env.task.dynamics.model, q, qd) if task == MUSCLES else (q, qd)


def _turn_bodies(model: Any, q: Any, qd: Any) -> tuple[Any, Any]:
    """From the skeleton's axes of bodies to ours; a ball joint's velocity from its parent's axes to its own."""
    quat = _multiply(q[..., 3:7], np.broadcast_to(_TURN_BACK, q[..., 3:7].shape))
    spin = qd[..., 3:6] @ _TURN.T
    positions, rates = [q[..., :3], quat], [qd[..., :3], spin]
    for kind, a, d in zip(model.joint_type[1:], model.joint_q[1:], model.joint_dof[1:], strict=True):
        if kind == _BALL:
            turned = np.concatenate([q[..., a + 3 : a + 4], q[..., a : a + 3] @ _TURN.T], axis=-1)
            positions.append(turned)
            rates.append(_rotate_back(turned, qd[..., d : d + 3] @ _TURN.T))
        else:
            positions.append(q[..., a : a + 1])
            rates.append(qd[..., d : d + 1])
    return np.concatenate(positions, axis=-1), np.concatenate(rates, axis=-1)


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
