"""Gates in the graph of a window: they stop or weigh gradients world by world, so that one never spoils the others."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._outliers import Rule

LARGEST = 1e10
"""Gradients with respect to an action are blocked from this size on; see the gate of torch."""


@jax.custom_vjp
def gate(action: Array, lost: Array) -> Array:
    """The same actions ``[N, na]``, whose gradients pass world by world where they are finite.

    Backwards through stiff contacts, the gradient of one world may grow until it overflows, although its states stay
    finite; summed over worlds, it would spoil all others. Here such a world contributes nothing through this action.

    Args:
        action: actions of one step.
        lost: zeros ``[N]``. Their "gradient" is 1 for each world that was blocked, which counts them.
    """
    return action


def _gate_back(_: None, g: Array) -> tuple[Array, Array]:
    # A comparison with NaN is false, so NaN is blocked too.
    passes = (jnp.abs(g) < LARGEST).all(-1)
    return jnp.where(passes[:, None], g, 0.0), (~passes).astype(g.dtype)


gate.defvjp(lambda action, lost: (action, None), _gate_back)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def ruled(rule: Rule, action: Array) -> Array:
    """The same actions ``[N, na]``, whose gradients ``rule`` changes."""
    return action


ruled.defvjp(lambda rule, action: (action, None), lambda rule, _, g: (rule(g),))


@jax.custom_vjp
def link(tree: Any) -> tuple[Any, Array]:
    """The same arrays ``[N, ...]``, and zeros ``[N]`` whose cotangent is the factor that their gradients pass with.

    So one forward pass serves several backward passes with factors of their own (Gao et al. 2024 need two: every step
    alone, for the ratio, then the credit that follows from it). Where a factor is 0, or a world's gradient is not
    finite, nothing passes: zero times infinity would be NaN.
    """
    first = jax.tree.leaves(tree)[0]
    return tree, jnp.zeros(first.shape[0], _float_of(tree))


def _link_forward(tree: Any) -> tuple[tuple[Any, Array], None]:
    return link(tree), None


def _link_back(_: None, cotangents: tuple[Any, Array]) -> tuple[Any]:
    g, factor = cotangents

    def passed(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf  # of whole numbers, which have no gradient
        shape = (-1,) + (1,) * (leaf.ndim - 1)
        finite = jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(1) & (factor > 0)
        return jnp.where(finite.reshape(shape), leaf * factor.reshape(shape), 0.0)

    return (jax.tree.map(passed, g),)


link.defvjp(_link_forward, _link_back)


def _float_of(tree: Any) -> Any:
    return next(leaf.dtype for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating))
