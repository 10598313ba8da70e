"""The engine on a GPU against the engine on a CPU: one source, two compilers."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402

pytestmark = pytest.mark.gpu


def window(device: str, dtype: str, steps: int, **options: object):
    """Final coordinates and velocities of a random window, and the gradient of their weighted sum by the actions."""
    env = make("ant", num_envs=67, device=device, dtype=dtype, **options)
    generator = torch.Generator().manual_seed(0)
    kind = getattr(torch, dtype)
    actions = (2 * torch.rand(steps, 67, 8, generator=generator, dtype=torch.float64) - 1).to(device, kind)
    weights = [torch.randn(67, n, generator=generator, dtype=torch.float64).to(device, kind) for n in (15, 14)]
    actions.requires_grad_()
    physics = env.reset(0)[0].physics
    for action in actions:
        physics, ok = env.dynamics_step(physics, (action,))
        assert bool(ok.all())
    total = sum((weight * part).sum() for weight, part in zip(weights, physics, strict=True))
    (gradient,) = torch.autograd.grad(total, actions)
    return [part.detach().cpu().double() for part in (*physics, gradient)]


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_double_precision_agrees_with_the_cpu(memory):
    for found, expected in zip(
        window("cuda", "float64", 12, memory=memory), window("cpu", "float64", 12, memory=memory), strict=True
    ):
        assert (found - expected).abs().max() <= 1e-8 * expected.abs().max()


def test_single_precision_follows_double():
    q, qd, gradient = window("cuda", "float32", 12)
    q_exact, qd_exact, gradient_exact = window("cpu", "float64", 12)
    assert (q - q_exact).abs().max() < 1e-3
    assert (qd - qd_exact).abs().max() < 5e-2
    cosine = (gradient * gradient_exact).sum() / (gradient.norm() * gradient_exact.norm())
    assert cosine > 0.999


def test_the_same_window_gives_the_same_bits():
    for a, b in zip(window("cuda", "float32", 8), window("cuda", "float32", 8), strict=True):
        assert torch.equal(a, b)
