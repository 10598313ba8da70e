"""Models of thousands of degrees of freedom: they run, as exactly as their parts, or are refused by their size."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import RigidModel, dynamics
from diffsim_core.rigid._kernels import SizeClass
from diffsim_core.rigid.dynamics import RigidDynamics

from .host import step, vjp

BODY = """<body pos="{} {} 0.1"><freejoint/><geom size="0.1"/><geom type="box" size="0.02 0.03 0.2" contype="0"/>
  <body pos="0 0.1 0"><joint axis="0 1 0"/><geom size="0.05" pos="0.1 0 0" contype="0"/></body></body>"""


def crowd(number: int) -> RigidModel:
    """Bodies on level ground, each with an arm: seven degrees of freedom."""
    bodies = "".join(BODY.format(i % 20, i // 20) for i in range(number))
    return load_model(f'<mujoco><worldbody><geom type="plane" size="99 99 1"/>{bodies}</worldbody></mujoco>')


def states(model: RigidModel, worlds: int, bodies: int) -> list[np.ndarray]:
    """The same random motion for every body, at its own place."""
    rng = np.random.default_rng(0)
    moves, speeds = 0.05 * rng.standard_normal((worlds, 8)), rng.standard_normal((worlds, 7))
    q = model.q_ref + np.tile(moves, bodies)
    return [np.ascontiguousarray(x, dtype="float32") for x in (q, np.tile(speeds, bodies), np.zeros((worlds, 0)))]


def test_two_thousand_degrees_of_freedom_move_as_their_parts_alone() -> None:
    bodies, worlds = 290, 12
    model = crowd(bodies)
    assert model.nv == 2030
    found, alone = [], []
    for number, out in ((bodies, found), (1, alone)):
        m = crowd(number)
        d = RigidDynamics(m, dt=1 / 240, substeps=2, threads=2)
        q, qd, u = states(m, worlds, number)
        after = step(d, q, qd, u)
        assert after.ok.all()
        bars = [np.tile(np.random.default_rng(k).standard_normal((worlds, n)), number) for k, n in enumerate((8, 7))]
        grads = vjp(d, q, qd, u, *(np.ascontiguousarray(b, dtype="float32") for b in bars))
        out += [after.q - m.q_ref.astype("float32"), after.qd, *grads[:2]]
    for many, one in zip(found, alone, strict=True):
        parts = many.reshape(worlds, bodies, -1)
        np.testing.assert_allclose(parts, np.repeat(one[:, None], bodies, axis=1), rtol=2e-5, atol=2e-5)


def test_room_follows_the_tree() -> None:
    """Small models share modules of the full size; large ones have the entries that their trees need."""
    sizes = [SizeClass.of(10, dofs, entries, 8, on_cuda=False) for dofs, entries in ((27, 100), (64, 70), (2030, 8120))]
    assert [size.entries for size in sizes] == [32 * 33 // 2, 64 * 65 // 2, 8320]


@pytest.mark.parametrize(("limit", "device"), [("_MOST_LOCAL", "cpu"), ("_MOST_LOCAL_CUDA", "cuda:0")])
def test_what_is_too_large_is_refused_by_its_size(limit: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamics, limit, 1000)
    words = r"too large: it has 4 links and 14 degrees of freedom, whose mass matrix has 56 entries, so .* would need"
    with pytest.raises(ValueError, match=words):
        RigidDynamics(crowd(2), dt=0.01, substeps=1, device=device)
