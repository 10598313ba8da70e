"""The material point method on a GPU against that on a CPU: the same functions, in launches of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diffsim_core import differentiable
from diffsim_mpm.dynamics import MpmDynamics

from .host import some_model, some_state
from .test_engine import bodies, check_graph, hand

pytestmark = pytest.mark.gpu


def window(device: str, dtype: str, steps: int, **options: Any):
    """Final states of 5 worlds, and the gradient of their weighted sum by the first state, controls and parameters."""
    kind = getattr(torch, dtype)
    model = some_model(*bodies("von_mises", "drucker_prager"), ground_friction=0.4, shapes=hand())
    options |= {"parameters": ("E", "yield_stress"), "reactions": True}
    dynamics = MpmDynamics(model, dt=1e-3, substeps=4, dtype=dtype, device=device, **options)

    def tensor(array):
        return torch.tensor(np.asarray(array), dtype=kind, device=device).requires_grad_()

    u = 0.01 * np.random.default_rng(15).standard_normal((5, 2))
    inputs = [tensor(a) for a in (*some_state(dynamics, 5, seed=16), u, np.tile(dynamics.parameters.nominal, (5, 1)))]
    step, now = differentiable(dynamics), dynamics.state_type(*inputs[:-2])
    for _ in range(steps):
        now, ok = step(now, inputs[-2:-1], inputs[-1:])
        assert bool(ok.all())
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(a.shape, generator=generator, dtype=torch.float64).to(device, kind) for a in now]
    total = sum((weight * part).sum() for weight, part in zip(weights, now, strict=True))
    return [part.detach().cpu().double() for part in (*now, *torch.autograd.grad(total, inputs))]


@pytest.mark.parametrize("atomics", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-3)])
def test_a_window_agrees_with_the_cpu(dtype, tolerance, atomics):
    for found, expected in zip(window("cuda", dtype, 3, atomics=atomics), window("cpu", dtype, 3), strict=True):
        assert (found - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_repeated_runs_have_the_same_bits(dtype):
    first = window("cuda", dtype, 8)
    for _ in range(4):
        assert all(torch.equal(a, b) for a, b in zip(window("cuda", dtype, 8), first, strict=True))


def test_a_control_step_is_one_graph():
    """It could not be captured if it waited for the host."""
    check_graph("cuda")
