"""Constants on a device: copied from the host once, and the reader's own."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import _uploads, make  # noqa: E402
from diffsim_core._interop_torch import TorchBackend  # noqa: E402
from diffsim_core._uploads import uploaded  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(_uploads, "_KEPT", {})
    return _uploads._KEPT


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6.0).reshape(2, 3),
        np.broadcast_to(np.arange(3, dtype=np.float32), (4, 3)),
        np.arange(12.0).reshape(3, 4).T[::2],
        np.broadcast_to(np.float64(2.5), (5,)),
        np.zeros((0, 3)),
        np.array(True),
        np.array([3, 1], np.int32),
    ],
)
def test_gives_the_numbers(values, kept):
    for _ in range(2):
        found = uploaded(values, CPU)
        assert found.is_contiguous() and np.array_equal(found.numpy(), values) and found.numpy().dtype == values.dtype
    assert len(kept) == 1


def test_readers_may_change_what_they_get(kept):
    values = np.broadcast_to(np.arange(3.0), (4, 3))
    uploaded(values, CPU).zero_()
    found = uploaded(values, CPU)
    found[0] = 7.0
    assert found[1:].tolist() == values[1:].tolist() and len(kept) == 1


def test_repeated_rows_are_kept_once_and_equal_bytes_apart(kept):
    for n in (2, 5):
        uploaded(np.broadcast_to(np.arange(3.0), (n, 3)), CPU)
    assert len(kept) == 1 and next(iter(kept.values())).shape == (1, 3)
    uploaded(np.zeros(2, np.float32), CPU), uploaded(np.zeros(1, np.float64), CPU), uploaded(np.zeros(2, np.int32), CPU)
    assert len(kept) == 4


def test_nothing_gives_way(kept, monkeypatch):
    """The address of an array may be in a CUDA graph."""
    monkeypatch.setattr(_uploads, "MOST", 2)
    for k in range(5):
        assert uploaded(np.array([float(k)]), CPU).tolist() == [k]
    assert [kept_.tolist() for kept_ in kept.values()] == [[0.0], [1.0]]


def test_serves_gradients_after_inference(kept):
    with torch.inference_mode():
        uploaded(np.ones(3), CPU)
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (x * uploaded(np.ones(3), CPU)).sum().backward()
    assert x.grad.tolist() == [1.0] * 3


@pytest.mark.parametrize("task", ["hopper", "ant", "cartpole"])
def test_steps_copy_nothing_from_the_host(task, kept, monkeypatch):
    """After the first one, and give the same bits."""
    env = make(task, num_envs=5)
    state, _ = env.reset(0)
    late = state._replace(t=torch.full_like(state.t, env.spec.horizon - 1))
    action = torch.zeros(5, env.spec.num_actions)
    expected, row = env.step(late, action)
    monkeypatch.setattr(TorchBackend, "can_read", lambda self, device: False)
    env._look = False
    env.step(late, action)
    monkeypatch.setattr(torch, "from_numpy", lambda values: pytest.fail("a copy"))
    after, again = env.step(late, action)
    assert row.truncated.all()
    assert torch.equal(row.obs, again.obs) and torch.equal(row.reward, again.reward)
    assert all(map(torch.equal, expected.physics, after.physics))


def test_large_arrays_are_not_kept(kept, monkeypatch):
    monkeypatch.setattr(_uploads, "LARGEST", 16)
    assert uploaded(np.arange(3.0), CPU).tolist() == [0.0, 1.0, 2.0] and not kept
    uploaded(np.arange(2.0), CPU)
    assert len(kept) == 1
