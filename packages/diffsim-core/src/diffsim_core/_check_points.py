"""Which function of a task has no derivative or a wrong one, at which point, and in torch in which line.

A gradient that is not finite says nothing of its cause once it has passed through a whole step. So each function that a
step calls is differentiated alone, at the arrays that it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from diffsim_core._env import TaskEnv
from diffsim_core._interop import backend_of, from_numpy, to_numpy, value_and_grad
from diffsim_core._protocol import Array, EnvState, PyTree
from diffsim_core._tree import tree_leaves, tree_map

_WIDTHS = (1e-6, 1e-5)
"""Half-widths of the differences; where they disagree, a switch is near, and nothing is said."""
_AGREE, _WRONG = 1e-5, 1e-4
"""Relative errors up to which two differences agree, and from which on a derivative is wrong."""
_SHOWN = 3


class _Call(NamedTuple):
    """One call of a step: the function, its arguments by name, and the same with other arguments."""

    function: str
    arguments: Mapping[str, PyTree]
    evaluate: Callable[[Mapping[str, PyTree]], PyTree]


def derivative_faults(env: Any, state: EnvState, action: Array) -> list[str]:
    """A line for each function that has no derivative at this state and action, or in float64 a wrong one.

    Args:
        env: looked into if it is a ``TaskEnv``; of another environment nothing is known.
        state: the state that is stepped.
        action: ``[N, na]``, inside the bounds.
    """
    if not isinstance(env, TaskEnv):
        return []
    return [line for call in _calls(env, state, action) for line in _faults(call, env.num_envs)]


def _calls(env: TaskEnv, state: EnvState, action: Array) -> list[_Call]:
    xp, task, library = env.xp, env.task, backend_of(action)
    control = tuple(map(library.contiguous, task.control(xp, action)))
    physics, _ = env.dynamics_step(state.physics, control, state.constants)
    memory = task.advance(xp, action, state.task)
    obs = task.observe(xp, physics, memory)
    after = {"next_physics": physics, "next_obs": obs, "task": memory}
    stepped = {"physics": state.physics, "control": control, "constants": state.constants}
    return [
        _Call("control", {"action": action}, lambda x: task.control(xp, **x)),
        _Call("advance", {"action": action, "task": state.task}, lambda x: task.advance(xp, **x)),
        _Call("observe", {"physics": physics, "task": memory}, lambda x: task.observe(xp, **x)),
        _Call("reward", {"physics": state.physics, "action": action, **after}, lambda x: task.reward(xp, *x.values())),
        _Call("the simulator's step", stepped, lambda x: env.dynamics_step(*x.values())[0]),
    ]


def _faults(call: _Call, num_envs: int) -> Iterator[str]:
    inputs = {name: leaf for name, leaf in tree_leaves(call.arguments) if to_numpy(leaf).dtype.kind == "f"}
    if not inputs:
        return
    random = np.random.default_rng(0)

    def replaced(values: Mapping[str, Array]) -> Mapping[str, PyTree]:
        names = iter([name for name, _ in tree_leaves(call.arguments)])
        return tree_map(lambda leaf: values.get(next(names), leaf), call.arguments)

    outputs = [leaf for _, leaf in tree_leaves(call.evaluate(call.arguments))]
    weights = [_weights(leaf, random) for leaf in outputs]
    if all(weight is None for weight in weights):
        return

    def loss(values: Mapping[str, Array]) -> Array:
        """``[N]``, a random linear function of all that the function returns."""
        leaves = [leaf for _, leaf in tree_leaves(call.evaluate(replaced(values)))]
        parts = [
            (weight * leaf).reshape((num_envs, -1)).sum(axis=1)
            for weight, leaf in zip(weights, leaves, strict=True)
            if weight is not None
        ]
        return sum(parts[1:], parts[0])

    exact = {name: to_numpy(leaf) for name, leaf in value_and_grad(lambda x: loss(x).sum(), inputs)[1].items()}
    if any(not np.isfinite(gradient).all() for gradient in exact.values()):
        where = backend_of(outputs[0]).origin(lambda x: loss(x).sum(), inputs)
        yield f"{call.function} has no derivative where {_point(inputs, exact)}{where}"
    elif next(iter(exact.values())).dtype == np.float64:
        yield from _wrong(call.function, loss, inputs, exact, random)


def _weights(output: Array, random: np.random.Generator) -> Array | None:
    """Random numbers of the output's shape and dtype; None where it is not a number that has a derivative."""
    values = to_numpy(output)
    drawn = random.normal(size=values.shape).astype(values.dtype)
    return from_numpy(drawn, output) if values.dtype.kind == "f" else None


def _point(inputs: Mapping[str, Array], exact: Mapping[str, Any]) -> str:
    """``next_physics.q[0] is 0 (world 3)``: inputs of the first world whose derivative is not finite."""
    bad = {name: ~np.isfinite(gradient.reshape(len(gradient), -1)).all(axis=1) for name, gradient in exact.items()}
    world = int(min(np.flatnonzero(worlds)[0] for worlds in bad.values() if worlds.any()))
    found = []
    for name, gradient in exact.items():
        values = to_numpy(inputs[name])[world] + 0.0  # -0 reads 0
        for index in zip(*np.nonzero(~np.isfinite(gradient[world])), strict=True):
            found.append(
                f"{name}[{', '.join(str(i) for i in index)}] is {values[index]:.6g}"
                if index
                else f"{name} is {values:.6g}"
            )
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN])}{more} (world {world})"


def _wrong(
    function: str,
    loss: Callable[[Mapping[str, Array]], Array],
    inputs: Mapping[str, Array],
    exact: Mapping[str, Any],
    random: np.random.Generator,
) -> Iterator[str]:
    scale: Any = 0.0
    errors = {}
    for name, leaf in inputs.items():
        values = to_numpy(leaf)
        direction = random.normal(size=values.shape)

        def slope(h: float, name: str = name, values: Any = values, direction: Any = direction) -> Any:
            up, down = (
                to_numpy(loss({**inputs, name: from_numpy(values + by * direction, inputs[name])})) for by in (h, -h)
            )
            return (up - down) / (2 * h)

        narrow, wide = map(slope, _WIDTHS)
        along = (exact[name] * direction).reshape(len(values), -1).sum(axis=1)
        errors[name] = (along, narrow, np.abs(narrow - wide))
        scale = np.maximum(scale, np.abs(narrow))
    for name, (along, narrow, doubt) in errors.items():
        error = np.where(doubt <= _AGREE * scale, np.abs(along - narrow), 0.0)
        world = int(error.argmax())
        if error[world] > _WRONG * scale[world]:
            yield (
                f"the derivative of {function} along a direction of {name} is {along[world]:.6g}, and differences give "
                f"{narrow[world]:.6g} (world {world}): a number that was computed outside of xp, or cut from the graph"
            )
