"""Robots with a left and a right: mirrored states and actions give the mirrored motion."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402

from .played import placed  # noqa: E402


def other_side(name):
    if name.startswith(("left_", "right_")):
        side, rest = name.split("_", 1)
        return {"left": "right_", "right": "left_"}[side] + rest
    return name


def test_walker2d_with_legs_swapped():
    env = make("walker2d", num_envs=8, dtype="float64", early_termination=False)
    swap = np.array([0, 1, 2, 6, 7, 8, 3, 4, 5])
    rng = np.random.default_rng(0)
    q, qd = rng.uniform(-0.3, 0.3, (8, 9)), rng.normal(size=(8, 9))
    q[:, 1] -= 0.1
    action = rng.uniform(-1, 1, (5, 8, 6))
    here, there = placed(env, q, qd), placed(env, q[:, swap], qd[:, swap])
    for a in action:
        here, paid = env.step(here, torch.tensor(a))
        there, paid_there = env.step(there, torch.tensor(a[:, [3, 4, 5, 0, 1, 2]]))
    assert np.abs(here.physics.q.numpy() - here.physics.q.numpy()[:, swap]).max() > 0.1
    np.testing.assert_allclose(there.physics.q, here.physics.q.numpy()[:, swap], atol=1e-9)
    np.testing.assert_allclose(there.physics.qd, here.physics.qd.numpy()[:, swap], atol=1e-7)
    torch.testing.assert_close(paid.reward, paid_there.reward)


@pytest.mark.parametrize("law", ["paper", "released"])
def test_humanoid_in_the_plane_of_its_body(law):
    env = make("humanoid", num_envs=8, dtype="float64", inertia_law=law, early_termination=False)
    model = env.task.dynamics.model
    names = model.joint_name[1:]
    swap = np.array([names.index(other_side(name)) for name in names])
    axis = model.joint_axis[1:]
    # An axis of rotation is a pseudovector: mirrored in y it keeps y and turns x and z round.
    sign = np.array([a @ (axis[j] * [-1, 1, -1]) for a, j in zip(axis, swap, strict=True)])
    np.testing.assert_allclose(np.abs(sign), 1)
    assert (sign < 0).sum() == 4, "the waist's z and x, and the ankles' oblique axes, which point one way on both sides"

    def mirrored(values, root):
        return np.concatenate([values[:, : len(root)] * root, (sign * values[:, len(root) :])[:, swap]], axis=1)

    def mirror_q(q):
        return mirrored(q, np.array([1, -1, 1, 1, -1, 1, -1]))

    def mirror_qd(qd):
        return mirrored(qd, np.array([1, -1, 1, -1, 1, -1]))

    rng = np.random.default_rng(0)
    q = np.tile(env.task.rest, (8, 1)) + rng.uniform(-0.2, 0.2, (8, 28))
    q[:, 3:7] /= np.linalg.norm(q[:, 3:7], axis=1, keepdims=True)
    q[:, 2] -= 0.1
    qd, actions = rng.normal(size=(8, 27)), rng.uniform(-1, 1, (5, 8, 21))
    here, there = placed(env, q, qd), placed(env, mirror_q(q), mirror_qd(qd))
    for action in actions:
        here, paid = env.step(here, torch.tensor(action))
        there, paid_there = env.step(there, torch.tensor((sign * action)[:, swap]))
    assert env.task.dynamics.active_contacts(here.physics).sum() > 0
    np.testing.assert_allclose(there.physics.q, mirror_q(here.physics.q.numpy()), atol=1e-7)
    np.testing.assert_allclose(there.physics.qd, mirror_qd(here.physics.qd.numpy()), atol=1e-5)
    torch.testing.assert_close(paid.reward, paid_there.reward, atol=1e-5, rtol=0)
