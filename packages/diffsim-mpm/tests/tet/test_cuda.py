"""Tetrahedra on a GPU against tetrahedra on a CPU: one source, two compilers."""

from __future__ import annotations

import pytest
import torch

from diffsim_core import differentiable
from diffsim_mpm.tet import TetDynamics, TetState

from .host import some_model, some_worlds

pytestmark = pytest.mark.gpu


def window(device: str, dtype: str, steps: int):
    """Final states of 67 worlds, and the gradient of their weighted sum by everything that went in."""
    model = some_model()
    kind = getattr(torch, dtype)
    worlds = some_worlds(model, 67, seed=9)
    inputs = [torch.tensor(a, dtype=kind, device=device).requires_grad_() for a in worlds]
    step = differentiable(TetDynamics(model, dt=0.004, substeps=6, dtype=dtype, device=device))
    now = TetState(*inputs[:2])
    for _ in range(steps):
        now, ok = step(now, inputs[2:5], inputs[5:])
        assert bool(ok.all())
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(a.shape, generator=generator, dtype=torch.float64).to(device, kind) for a in now]
    total = sum((weight * part).sum() for weight, part in zip(weights, now, strict=True))
    gradients = torch.autograd.grad(total, inputs)
    return [part.detach().cpu().double() for part in (*now, *gradients)]


def test_double_precision_agrees_with_the_cpu():
    for found, expected in zip(window("cuda", "float64", 8), window("cpu", "float64", 8), strict=True):
        assert (found - expected).abs().max() <= 1e-8 * max(1.0, float(expected.abs().max()))


def test_the_same_window_gives_the_same_bits():
    for a, b in zip(window("cuda", "float32", 8), window("cuda", "float32", 8), strict=True):
        assert torch.equal(a, b)
