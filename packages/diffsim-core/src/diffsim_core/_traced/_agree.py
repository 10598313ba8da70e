"""Whether an environment's compiled steps are those of the task's own code: values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from diffsim_core._protocol import EnvState, PyTree, Transition
from diffsim_core._tree import tree_leaves, tree_map

Step = Callable[[EnvState, torch.Tensor], Any]


class Tolerance(NamedTuple):
    """How far numbers may be apart: a part of the largest of their kind, and of the largest in the array (or 1)."""

    value: float
    floor: float
    gradient: float


TOLERANCES = {"float32": Tolerance(1e-4, 2e-6, 1e-2), "float64": Tolerance(1e-9, 1e-13, 1e-7)}
"""What rounding explains. Rounding is amplified by a simulator's step, and where a task takes differences."""


def disagreement(env: Any, fused: Step, state: EnvState, action: torch.Tensor) -> str | None:
    """Where steps differ, at these states, and from disturbed ones some of which are at their time limit.

    Args:
        env: with ``_step``, a step of separate operations.
        fused: the same in one.
        state: any state.
        action: ``[N, na]``.

    Returns:
        The name of an array or gradient that differs, with the largest difference; None if none does.
    """
    tolerance = TOLERANCES[env.dtype]
    for where, (at, given) in (("", (state, action)), (" from disturbed states", disturbed(env, state, action))):
        one, two = _differentiated(env._step, at, given), _differentiated(fused, at, given)
        for name in one.values.keys() | two.values.keys():
            if found := different(one.values.get(name), two.values.get(name), tolerance.value, tolerance.floor):
                return f"{name}{where} {found}"
        for name in one.gradients.keys() | two.gradients.keys():
            pair = one.gradients.get(name), two.gradients.get(name)
            if found := different(*pair, tolerance.gradient, tolerance.floor, rows=True):
                return f"the gradient with respect to {name}{where} {found}"
    return None


class Differentiated(NamedTuple):
    """A step's arrays by name, and the gradient of a random linear function of them."""

    values: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]


def _differentiated(step: Step, state: EnvState, action: torch.Tensor) -> Differentiated:
    with torch.inference_mode(False), torch.enable_grad():
        return differentiated(step, state, action)


def differentiated(step: Step, state: EnvState, action: torch.Tensor, seed: int = 0) -> Differentiated:
    """A step from copies of ``state`` and ``action``, and a gradient of it.

    Args:
        step: ``(state, action) -> (state, transition)``.
        state: any state.
        action: ``[N, na]``.
        seed: of the random linear function.
    """

    def leaf(x: torch.Tensor) -> torch.Tensor:
        return x.detach().clone().requires_grad_(x.is_floating_point())

    state, action = tree_map(leaf, state), leaf(action)
    inputs = {name: x for name, x in tree_leaves((state, action)) if x.is_floating_point()}
    names = {name: "action" if name == "1" else name.partition(".")[2] for name in inputs}
    taken = step(state, action)
    if taken is None:
        raise ValueError("the step was not taken")
    values = dict(_named(*taken))
    random = np.random.default_rng(seed)
    terms = [
        (x * torch.from_numpy(random.standard_normal(tuple(x.shape))).to(x)).sum()
        for _, x in sorted(values.items())
        if x.is_floating_point()
    ]
    total: Any = sum(terms[1:], terms[0])
    gradients = torch.autograd.grad(total, list(inputs.values()), allow_unused=True, materialize_grads=True)
    return Differentiated(
        {name: x.detach() for name, x in values.items()},
        {names[name]: g for name, g in zip(inputs, gradients, strict=True)},
    )


def _named(state: EnvState, transition: Transition) -> Iterator[tuple[str, torch.Tensor]]:
    yield from tree_leaves(state, "state")
    yield from tree_leaves(transition)


def disturbed(env: Any, state: EnvState, action: torch.Tensor) -> tuple[EnvState, torch.Tensor]:
    """Other states and actions: all numbers moved, actions beyond their bounds, every third world at its time limit."""
    random = np.random.default_rng(1)

    def move(tree: PyTree) -> PyTree:
        return tree_map(lambda x: x + _noise(random, x) if x.is_floating_point() else x, tree)

    late = torch.arange(env.num_envs, device=state.t.device) % 3 == 0
    t = torch.where(late, torch.full_like(state.t, env.spec.horizon - 1), state.t)
    drawn = torch.from_numpy(random.uniform(-1.5, 1.5, tuple(action.shape))).to(action)
    return state._replace(physics=move(state.physics), task=move(state.task), t=t), drawn


def _noise(random: np.random.Generator, x: torch.Tensor) -> torch.Tensor:
    return 0.1 * torch.from_numpy(random.standard_normal(tuple(x.shape))).to(x)


def different(
    one: torch.Tensor | None, two: torch.Tensor | None, part: float, floor: float, *, rows: bool = False
) -> str | None:
    """How two arrays differ, in words; None if they do not.

    Args:
        one: ``[N, ...]``.
        two: the same.
        part: of the largest number in the same column (or row) of all worlds, by which they may be apart.
        floor: of the largest number of all or 1, which is added.
        rows: compare with the largest number of the same world.
    """
    if one is None or two is None:
        return "is there in one of the two only"
    if one.shape != two.shape or one.dtype is not two.dtype:
        return f"has shape {tuple(one.shape)} and {one.dtype}, or {tuple(two.shape)} and {two.dtype}"
    if not one.is_floating_point() or not one.numel():
        apart = int((one != two).sum())
        return f"differs in {apart} places" if apart else None
    unlike = (one.isnan() != two.isnan()) | (one.isinf() | two.isinf()) & (one != two) & ~one.isnan()
    if bool(unlike.any()):
        return f"is not finite in {int(unlike.sum())} places of one of the two"
    finite = one.isfinite()
    one, two = torch.where(finite, one, 0.0), torch.where(finite, two, 0.0)
    flat = one.abs().reshape(len(one), -1) if one.ndim else one.abs().reshape(1, 1)
    kind = flat.amax(1, keepdim=True) if rows else flat.amax(0, keepdim=True)
    allowed = part * kind + floor * flat.max().clamp(min=1.0)
    gap = (one - two).abs().reshape(flat.shape)
    excess = gap > allowed
    return f"differs by {float(gap[excess].max()):.3g}" if bool(excess.any()) else None
