"""Comparison with recordings: of ourselves it finds nothing, of something else it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffrl_bench._bounds import agrees
from diffrl_bench.reference import FILES, FREE_ROOT, MUSCLES, compare, run


def _record(task: str) -> dict[str, np.ndarray[Any, Any]]:
    """What the recordings hold, from our own simulator, in its axes."""
    import diffsim_core

    env = diffsim_core.make(task, num_envs=2, dtype="float64", threads=1)
    state, _ = env.reset(3)
    generator = torch.Generator().manual_seed(0)
    actions = 2 * torch.rand(4, 2, env.spec.num_actions, generator=generator, dtype=torch.float64) - 1
    actions.requires_grad_()
    found: dict[str, list[np.ndarray[Any, Any]]] = {"q": [], "qd": [], "reward": []}
    q0, qd0 = state.physics.q.numpy(), state.physics.qd.numpy()
    total = torch.zeros((), dtype=torch.float64)
    for action in actions:
        state, transition = env.step(state, action)
        total = total + transition.reward.sum()
        for key, value in (("q", state.physics.q), ("qd", state.physics.qd), ("reward", transition.reward)):
            found[key].append(value.detach().numpy())
    (gradient,) = torch.autograd.grad(total, actions)
    arrays = {key: np.stack(values) for key, values in found.items()}
    return {"q0": q0, "qd0": qd0, "actions": actions.detach().numpy(), "grad_actions": gradient.numpy(), **arrays}


def _to_y_up(q: np.ndarray[Any, Any], qd: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Our free root in the recordings' axes: y up, quaternion xyzw, a twist at the world's origin."""
    flat_q, flat_qd = q.reshape(-1, q.shape[-1]).copy(), qd.reshape(-1, qd.shape[-1]).copy()
    for position, velocity in zip(flat_q, flat_qd, strict=True):
        w, x, y, z = position[3:7]
        rotation = _matrix(w, x, y, z)
        omega = rotation @ velocity[3:6]
        at_origin = velocity[:3] - np.cross(omega, position[:3])
        # A quarter turn about x takes z up to y up.
        turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
        half = np.sqrt(0.5)
        a, b = half, -half
        turned = np.array([a * w - b * x, a * x + b * w, a * y - b * z, a * z + b * y])
        np.testing.assert_allclose(_matrix(*turned), turn @ rotation, atol=1e-12)
        position[:7] = *(turn @ position[:3]), *turned[1:], turned[0]
        velocity[:6] = *(turn @ omega), *(turn @ at_origin)
    return flat_q.reshape(q.shape), flat_qd.reshape(qd.shape)


def _to_skeleton_axes(
    q: np.ndarray[Any, Any], qd: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Our muscle-driven legs in their skeleton's axes (x left, y up, z forward), ball rates in the parent's."""
    import diffsim_core

    model = diffsim_core.make(MUSCLES, num_envs=1).task.dynamics.model
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    flat_q, flat_qd = q.reshape(-1, q.shape[-1]).copy(), qd.reshape(-1, qd.shape[-1]).copy()
    for position, velocity in zip(flat_q, flat_qd, strict=True):
        w, x, y, z = position[3:7]
        # times the quaternion (1 + i + j + k) / 2 of the turn
        position[3:7] = 0.5 * np.array([w - x - y - z, w + x + y - z, w - x + y + z, w + x - y + z])
        np.testing.assert_allclose(_matrix(*position[3:7]), _matrix(w, x, y, z) @ turn, atol=1e-12)
        velocity[3:6] = turn.T @ velocity[3:6]
        for kind, a, d in zip(model.joint_type[1:], model.joint_q[1:], model.joint_dof[1:], strict=True):
            if kind == 1:
                own = position[a : a + 4].copy()
                velocity[d : d + 3] = turn.T @ _matrix(*own) @ velocity[d : d + 3]
                position[a : a + 4] = *(turn.T @ own[1:]), own[0]
    return flat_q.reshape(q.shape), flat_qd.reshape(qd.shape)


def _matrix(w: float, x: float, y: float, z: float) -> np.ndarray[Any, Any]:
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for task, name in FILES.items():
        data = _record(task)
        if task == MUSCLES:
            data["q0"], data["qd0"] = _to_skeleton_axes(data["q0"], data["qd0"])
            data["q"], data["qd"] = _to_skeleton_axes(data["q"], data["qd"])
        if task in FREE_ROOT:
            data["q0"], data["qd0"] = _to_y_up(data["q0"], data["qd0"])
            data["q"], data["qd"] = _to_y_up(data["q"], data["qd"])
        np.savez(folder / name, **data)
    return folder


@pytest.mark.parametrize("task", sorted(FILES))
def test_our_own_recording_agrees(folder: Path, task: str) -> None:
    found = compare(task, folder)
    assert found.position_error_last < 1e-9
    assert found.reward_error < 1e-12
    assert found.gradient_cosine == pytest.approx(1.0, abs=1e-9)
    assert found.gradient_norm_ratio == pytest.approx(1.0, abs=1e-6)
    assert found.steps == 4
    assert agrees(vars(found))


def test_another_simulator_does_not(folder: Path, tmp_path: Path) -> None:
    name = FILES["cartpole"]
    with np.load(folder / name) as archive:
        data = dict(archive)
    data["q"] = data["q"] + 0.02
    np.savez(tmp_path / name, **data)
    found = compare("cartpole", tmp_path)
    assert found.position_error_first == pytest.approx(0.02, rel=1e-6)
    assert not agrees(vars(found))
    assert not agrees({**vars(compare("cartpole", folder)), "gradient_cosine": float("nan")})


def test_the_muscles_need_their_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass --skeleton and --muscles"):
        run(tmp_path, [MUSCLES])
    with pytest.raises(ValueError, match="pass --skeleton and --muscles"):
        run(tmp_path, None, skeleton="human.xml")
    np.savez(tmp_path / FILES[MUSCLES], q0=np.zeros((1, 29)))
    with pytest.raises(ValueError, match=r"human\.xml.*no such file"):
        run(tmp_path, [MUSCLES], skeleton=str(tmp_path / "human.xml"), muscles=str(tmp_path / "muscle.xml"))


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task 'walker2d' has no recording"):
        compare("walker2d", tmp_path)
    with pytest.raises(ValueError, match="does not exist; pass the folder"):
        compare("ant", tmp_path)
