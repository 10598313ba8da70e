"""Derivatives that a simulator does not have are errors in torch, as they are in JAX: never zeros, never a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import torch.autograd.forward_ad as forward_ad  # noqa: E402
from torch.autograd import functional  # noqa: E402

import diffsim_core  # noqa: E402
from diffsim_core import differentiable  # noqa: E402
from diffsim_core.io import load_model  # noqa: E402
from diffsim_core.rigid import RigidDynamics, RigidState, Sensors  # noqa: E402

XML = """<mujoco><worldbody><body><joint name="j" axis="0 1 0"/><geom type="capsule" size=".05" fromto="0 0 0 0 0 -.5"/>
<site name="tip" pos="0 0 -.5"/></body></worldbody><actuator><motor joint="j" gear="2"/></actuator></mujoco>"""
Q, QD, U = (torch.full((1, 1), x, dtype=torch.float64) for x in (0.3, 0.1, 0.5))


def functions() -> dict[str, tuple[Callable[[Any], Any], Any]]:
    """Scalars of one input each, through a step or sensors, linear and not; the other inputs are constants."""
    dynamics = RigidDynamics(load_model(XML), dt=0.05, substeps=10, dtype="float64")
    step, sensors = differentiable(dynamics), Sensors(dynamics, ["position:tip"])
    env = diffsim_core.make("cartpole", num_envs=1, dtype="float64")
    start, _ = env.reset(0)
    return {
        "linear in the control": (lambda u: step(RigidState(Q, QD), (u,))[0].q.sum(), U),
        "square in the control": (lambda u: step(RigidState(Q, QD), (u,))[0].qd.square().sum(), U),
        "with a part of its own": (lambda u: step(RigidState(Q, QD), (u,))[0].q.sum() + (u * u).sum(), U),
        "by the state": (lambda q: step(RigidState(q, QD), (U,))[0].q.sum(), Q),
        "sensors": (lambda q: sensors(RigidState(q, QD)).sum(), Q),
        "sensors, square": (lambda q: sensors(RigidState(q, QD)).square().sum(), Q),
        "an environment": (lambda a: env.step(start, a)[1].reward.sum(), torch.full((1, 1), 0.2, dtype=torch.float64)),
    }


FUNCTIONS = functions()


def _twice(f: Any, x: Any) -> Any:
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x), x, create_graph=True)
    return torch.autograd.grad(slope.sum(), x, allow_unused=True)


def _forward(f: Any, x: Any) -> Any:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(f(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


# What torch offers and a simulator does not: second derivatives, forward mode, transforms of functions.
ABSENT = {
    "functional.jvp": lambda f, x: functional.jvp(f, x, torch.ones_like(x)),
    "functional.hvp": lambda f, x: functional.hvp(f, x, torch.ones_like(x)),
    "functional.vhp": lambda f, x: functional.vhp(f, x, torch.ones_like(x)),
    "functional.hessian": functional.hessian,
    "functional.jacobian, forward": lambda f, x: functional.jacobian(f, x, strategy="forward-mode", vectorize=True),
    "grad of grad": _twice,
    "forward mode": _forward,
    "func.grad": lambda f, x: torch.func.grad(f)(x),
    "func.vjp": lambda f, x: torch.func.vjp(f, x)[1](torch.ones((), dtype=x.dtype)),
    "func.jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),)),
    "func.jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "func.jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "func.hessian": lambda f, x: torch.func.hessian(f)(x),
    "func.vmap": lambda f, x: torch.func.vmap(f)(x[None]),
}


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_does_not_exist_is_an_error_that_says_what_does(name, absent):
    f, x = FUNCTIONS[name]
    with pytest.raises((NotImplementedError, RuntimeError), match="simulator's step"):
        ABSENT[absent](f, x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_derivatives_exist_in_every_form(name):
    """Central differences, ``grad`` with and without a graph, ``functional.vjp`` and ``functional.jacobian``."""
    f, x = FUNCTIONS[name]
    e = 1e-6
    want = float(f(x + e) - f(x - e)) / (2 * e)
    leaf = x.clone().requires_grad_()
    found = [
        *torch.autograd.grad(f(leaf), leaf),
        *torch.autograd.grad(f(leaf), leaf, create_graph=True),
        functional.vjp(f, x)[1],
        functional.jacobian(f, x),
    ]
    for gradient in found:
        assert float(gradient) == pytest.approx(want, rel=1e-6, abs=1e-8)


def test_a_graph_that_is_asked_for_and_not_used_costs_nothing():
    """A penalty on gradients needs the graph of other parts: they still have their second derivatives."""
    f, x = FUNCTIONS["by the state"]
    leaf, weight = x.clone().requires_grad_(), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(weight.square() * f(leaf.detach()) + leaf.pow(3).sum(), leaf, create_graph=True)
    assert float(torch.autograd.grad(slope.sum(), leaf)[0]) == pytest.approx(6 * 0.3)


def lazy(x):
    """The same numbers as a view whose sign torch changes when it is read."""
    view = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert view.is_neg() and torch.equal(view, x)
    return view


def test_a_lazily_negated_view_is_refused_or_read_with_its_sign():
    f, x = FUNCTIONS["by the state"]
    with pytest.raises(ValueError, match=r"state\.q .* pass state\.q\.resolve_neg\(\)"):
        f(lazy(x))
    assert torch.equal(f(lazy(x).resolve_neg()), f(x))
    env = diffsim_core.make("cartpole", num_envs=1, dtype="float64")
    state, _ = env.reset(0)
    action = torch.full((1, 1), 0.2, dtype=torch.float64)
    assert torch.equal(env.step(state, lazy(action))[1].obs, env.step(state, action)[1].obs)


def test_a_lazily_negated_cotangent_is_read_with_its_sign():
    dynamics = RigidDynamics(load_model(XML), dt=0.05, substeps=10, dtype="float64")
    u = U.clone().requires_grad_()
    after, _ = differentiable(dynamics)(RigidState(Q, QD), (u,))
    one = torch.ones_like(Q)
    plain, found = (torch.autograd.grad(after.q, u, g, retain_graph=True)[0] for g in (one, lazy(one)))
    assert torch.equal(plain, found)
