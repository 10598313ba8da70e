"""The same algorithm, networks, worlds and noise in torch and in JAX, in float64."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import diffrl_algos.torch as in_torch
import diffsim_core
from diffrl_algos._arrays import carried_arrays
from diffrl_algos.torch._account import Clock
from diffrl_algos.torch._window import normal

NAMES = ("apg", "shac", "sapo", "agpo", "aobg", "ppo", "rpo", "ivwh", "ddcg")
SMALL: dict[str, Any] = {"iterations": 10, "horizon": 8, "actor_hidden": (16, 8), "lr_schedule": "constant"}
CRITIC: dict[str, Any] = {"critic_hidden": (12,), "critic_iterations": 2, "critic_minibatches": 3}
TORCH: dict[str, Any] = {"critic_fit": "torch", "policy_step": "torch", "policy_fit": "torch"}
WORLDS: dict[str, Any] = {"num_envs": 6, "dtype": "float64", "limit": 0.9, "horizon": 5}


def kind(name: str) -> Any:
    """The class of an algorithm in JAX."""
    return importlib.import_module(f"diffrl_algos.jax.algorithms.{name}").ALGORITHM


def config_of(name: str, **options: Any) -> Any:
    """A small configuration."""
    cls = getattr(in_torch, f"{name.upper()}Config")
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(
        **{key: value for key, value in {**SMALL, **CRITIC, "critic_shuffle": False, **options}.items() if key in names}
    )


class Twins(NamedTuple):
    """Before the same update."""

    torch_algorithm: Any
    torch_state: Any
    algorithm: Any
    state: Any
    """In JAX."""


def twins(name: str, *, task: str = "toy", worlds: dict[str, Any] | None = None, **options: Any) -> Twins:
    """Both forms, after one update of torch's, with moments of Adam that are zero; call it where JAX has float64.

    Clipping is off, so that the moments after the next step are the gradient.
    """
    config = config_of(name, **{"max_grad_norm": 1e9, **options})
    given = {**WORLDS, **(worlds or {})}
    on_torch, on_jax = (diffsim_core.make(task, arrays=arrays, **given) for arrays in ("torch", "jax"))
    names = {field.name for field in dataclasses.fields(config)}
    by_torch = dataclasses.replace(config, **{key: value for key, value in TORCH.items() if key in names})
    algorithm = getattr(in_torch, name.upper())(by_torch)
    begun = algorithm.init(on_torch, 4)
    learned, _ = algorithm.update(begun)
    adam = in_torch.Adam.init(learned.actor)
    state = learned.replace(run=begun.run._replace(stats=learned.run.stats), actor_adam=adam)
    ours = kind(name)(config)
    fresh = ours.init(on_jax, 4)
    arrays = carried_arrays(fresh.to_arrays(), algorithm.to_arrays(state), same=True)
    return Twins(algorithm, state, ours, ours.from_arrays(fresh, arrays))


def noise(pair: Twins, *before: int) -> np.ndarray[Any, Any]:
    """The noise that torch's next update draws first, ``[*before, T, N, na]``."""
    run, env = pair.torch_state.run, pair.torch_state.env
    shape = (*before, pair.algorithm.config.horizon, env.num_envs, env.spec.num_actions)
    return normal(run.generator(), run.obs, *shape).numpy()


def torch_update(pair: Twins) -> tuple[Any, dict[str, float], np.ndarray[Any, Any]]:
    """What torch learns in the next update, its metrics, and the gradient of the loss w.r.t. the actor."""
    learned = pair.torch_algorithm.learn(pair.torch_state, pair.torch_state.run.generator(), Clock())
    gradient = learned.changes["actor_adam"].m / (1.0 - pair.algorithm.config.betas[0])
    return learned, {name: float(value.detach()) for name, value in learned.metrics.items()}, gradient.numpy()


def arguments(pair: Twins, eps: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """Those of ``gradient`` of an algorithm in JAX."""
    state = pair.state
    done = (jnp.zeros(()),) if type(pair.algorithm).__name__ == "SAPO" else ()
    return (state.env, state.nets, state.worlds, jnp.asarray(eps), *done)


def same(one: Any, other: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    """Numbers of torch and of JAX agree."""
    if isinstance(one, torch.Tensor):
        one = one.detach().numpy()
    np.testing.assert_allclose(np.asarray(other), one, rtol=rtol, atol=atol)


x64 = jax.enable_x64


def compiled(function: Any, **options: Any) -> Any:
    """``jax.jit`` that compiles fast, for code that runs once."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)
