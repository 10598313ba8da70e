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
from .test_rigid import coupled, some_motion

pytestmark = pytest.mark.gpu


def pulled(dynamics, state, controls, steps: int):
    """Final states of 5 worlds, and the gradient of their weighted sum by the first state, controls and parameters."""
    kind, device = getattr(torch, dynamics.dtype), dynamics.device

    def tensor(array):
        return torch.tensor(np.asarray(array), dtype=kind, device=device).requires_grad_()

    inputs = [tensor(a) for a in (*state, *controls, np.tile(dynamics.parameters.nominal, (5, 1)))]
    step, now = differentiable(dynamics), dynamics.state_type(*inputs[: len(state)])
    for _ in range(steps):
        now, ok = step(now, inputs[len(state) : -1], inputs[-1:])
        assert bool(ok.all())
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(a.shape, generator=generator, dtype=torch.float64).to(device, kind) for a in now]
    total = sum((weight * part).sum() for weight, part in zip(weights, now, strict=True))
    return [part.detach().cpu().double() for part in (*now, *torch.autograd.grad(total, inputs))]


def window(device: str, dtype: str, steps: int, **options: Any):
    model = some_model(*bodies("von_mises", "drucker_prager"), ground_friction=0.4, shapes=hand())
    options |= {"parameters": ("E", "yield_stress"), "reactions": True}
    dynamics = MpmDynamics(model, dt=1e-3, substeps=4, dtype=dtype, device=device, **options)
    u = 0.01 * np.random.default_rng(15).standard_normal((5, 2))
    return pulled(dynamics, some_state(dynamics, 5, seed=16), [u], steps)


def rigid_window(device: str, dtype: str, steps: int, **options: Any):
    """With free rigid bodies among particles and moving shapes, and loads on them."""
    dynamics = coupled(dtype, device=device, parameters=("E", "mass", "inertia_yy"), **options)
    state, load, u = some_motion(dynamics, 5, 24)
    return pulled(dynamics, state, [u, load], steps)


@pytest.mark.parametrize("made", [window, rigid_window])
@pytest.mark.parametrize("atomics", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-3)])
def test_a_window_agrees_with_the_cpu(made, dtype, tolerance, atomics):
    for found, expected in zip(made("cuda", dtype, 3, atomics=atomics), made("cpu", dtype, 3), strict=True):
        assert (found - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("made", [window, rigid_window])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_repeated_runs_have_the_same_bits(made, dtype):
    first = made("cuda", dtype, 8)
    for _ in range(4):
        assert all(torch.equal(a, b) for a, b in zip(made("cuda", dtype, 8), first, strict=True))


def test_a_control_step_is_one_graph():
    """It could not be captured if it waited for the host."""
    check_graph("cuda")
