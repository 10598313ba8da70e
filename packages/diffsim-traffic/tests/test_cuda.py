"""Traffic on a GPU against traffic on a CPU: one source, two compilers."""

from __future__ import annotations

import pytest
import torch

from diffsim_core import differentiable
from diffsim_traffic import LAWS, TrafficDynamics, TrafficState

from .host import some_model, some_worlds

pytestmark = pytest.mark.gpu


def window(device: str, dtype: str, law: str, steps: int, **options: object):
    """Final states of 67 worlds, and the gradient of their weighted sum by the first state and all controls."""
    model = some_model(LAWS[law], **options)
    kind = getattr(torch, dtype)

    def tensor(array):
        return torch.tensor(array, dtype=kind, device=device).requires_grad_()

    state, steering, acceleration = some_worlds(model, 67, seed=9)
    inputs = [tensor(a) for a in (*state, steering, acceleration)]
    step = differentiable(TrafficDynamics(model, dt=0.1, dtype=dtype, device=device))
    now = TrafficState(*inputs[:4])
    for _ in range(steps):
        now, ok = step(now, inputs[5:], inputs[4:5])
        assert bool(ok.all())
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(a.shape, generator=generator, dtype=torch.float64).to(device, kind) for a in now]
    total = sum((weight * part).sum() for weight, part in zip(weights, now, strict=True))
    gradients = torch.autograd.grad(total, inputs)
    return [part.detach().cpu().double() for part in (*now, *gradients)]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("ring", [False, True])
def test_double_precision_agrees_with_the_cpu(law, ring):
    for found, expected in zip(
        window("cuda", "float64", law, 8, ring=ring), window("cpu", "float64", law, 8, ring=ring), strict=True
    ):
        assert (found - expected).abs().max() <= 1e-8 * max(1.0, float(expected.abs().max()))


def test_smoothed_lanes_agree_with_the_cpu():
    options = {"controlled": 1, "lane_smoothing": 1.0}
    for found, expected in zip(
        window("cuda", "float64", "idm", 8, **options), window("cpu", "float64", "idm", 8, **options), strict=True
    ):
        assert (found - expected).abs().max() <= 1e-8 * max(1.0, float(expected.abs().max()))


def test_the_same_window_gives_the_same_bits():
    for a, b in zip(window("cuda", "float32", "idm", 8), window("cuda", "float32", "idm", 8), strict=True):
        assert torch.equal(a, b)
