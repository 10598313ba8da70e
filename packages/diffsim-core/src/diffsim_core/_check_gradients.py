"""Check of the gradients of a few steps against central differences in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core._check_env import Numbers, Subject
from diffsim_core._check_points import derivative_faults
from diffsim_core._check_probes import Progress, probes
from diffsim_core._interop import from_numpy, to_numpy, value_and_grad
from diffsim_core._protocol import Array, Env, EnvState, PyTree
from diffsim_core._tree import tree_leaves, tree_map

TOLERANCE = 1e-6
"""Relative error up to which the gradients of a step are right."""
_MOST = 64
"""Perturbations of an input, see ``probes``."""
_WIDTHS = (1e-4, 1e-5, 1e-6, 1e-7)
"""Half-widths of the differences, of which each coordinate uses the best; widest first."""
_SWITCHING = 1e-5
"""Relative disagreement of differences of two widths above which a switch lies between them."""
_KINK = 1e-6
"""Relative difference of one-sided slopes above which they meet at a switch."""


class SwitchingError(ValueError):
    """All worlds are at a switch, so that there is nothing to compare gradients with."""


@dataclass(frozen=True)
class GradientReport:
    """Errors of gradients against central differences."""

    max_rel_error: float
    """Largest over worlds and inputs of ``max |AD - FD| / max |FD|``; infinity if a gradient is not finite."""
    rel_error: dict[str, float]
    """The error of each input: ``physics.q``, ``physics.qd``, ``actions``, and the simulator's constants. Those of a
    rigid model are ``parameters``, one random direction for each kind; others are named like ``constants.drivers``."""
    worlds: int
    """Worlds compared."""
    switching: int
    """Worlds excluded, because a switch (touch-down, slip, a limit) lies within the width of the differences, so that
    they disagree with each other."""
    active_contacts: int | None
    """Contacts in all compared worlds at the start, if the simulator counts them (``dynamics.active_contacts``)."""
    faults: tuple[str, ...] = ()
    """Where ``max_rel_error`` is above 1e-6: functions of the task that have no derivative or a wrong one, with the
    point, and in torch the line. Empty if none was found, which leaves the simulator over several steps."""


@np.errstate(divide="ignore", invalid="ignore")  # what is not finite is reported as an error, not as a warning
def check_gradients(
    env: Env, *, steps: int = 1, warmup: int = 40, seed: int = 0, progress: Progress | None = None
) -> GradientReport:
    """Compare the gradients of ``steps`` control steps with central differences.

    The loss of each world is a random linear function of all rewards, ``final_obs`` and the last physics state. Every
    coordinate of the first physics state and of the actions is perturbed, quaternions included (models normalise them),
    and so are the constants of the first episode. An input of more than 64 numbers is perturbed along 64 random
    directions instead. The first state is that after ``warmup`` steps of random actions. The difference of each
    coordinate is Richardson's extrapolation from widths ``h`` and ``2h``, with the ``h`` for which the two agree best.

    Args:
        env: made with ``dtype="float64"``; some 64 worlds are a good number on a CPU.
        steps: number of control steps from inputs to outputs.
        warmup: number of steps of random actions before them.
        seed: seed of initial states, actions and cotangents.
        progress: called with the part of the work that is done, from 0 to 1.

    Raises:
        ValueError: if ``env`` is not float64.
        SwitchingError: if differences disagree with each other in every world.
    """
    subject = Subject(env, seed, warmup)
    if subject.dtype != np.float64:
        raise ValueError(f"check_gradients needs an environment made with dtype='float64', got {subject.dtype}")
    state = subject.after(warmup)
    actions = from_numpy(np.stack([to_numpy(action) for action in subject.actions(steps)]), state.t)
    inputs = {"physics": state.physics, "actions": actions}
    directions = None
    if hasattr(state.constants, "params"):
        directions = _directions(subject)
        inputs["parameters"] = from_numpy(np.zeros((env.num_envs, len(directions))), state.t)
    elif next(tree_leaves(state.constants), None) is not None:
        inputs["constants"] = state.constants
    loss = _loss(subject, state, steps, directions)

    grad = value_and_grad(lambda tree: loss(tree).sum(), inputs)[1]
    exact = {name: _world_first(name, to_numpy(leaf)) for name, leaf in tree_leaves(grad)}
    along = {name: probes(values.shape[1], _MOST, subject.random) for name, values in exact.items()}
    exact = {name: values @ along[name].T for name, values in exact.items()}
    fast = subject.backend.compiled(loss)
    differences, doubt = _differences(lambda tree: to_numpy(fast(tree)), inputs, along, progress)

    scale = np.max([np.abs(fd).max(axis=1) for fd in differences.values()], axis=0)
    # an input of tiny influence is measured against the most influential one
    size = {name: np.maximum(np.abs(fd).max(axis=1), 1e-3 * scale) for name, fd in differences.items()}
    clear = np.all([doubt[name].max(axis=1) <= _SWITCHING * size[name] for name in size], axis=0)
    # a gradient that is not finite is wrong, whatever the differences say
    clear |= np.any([~np.isfinite(values).all(axis=1) for values in exact.values()], axis=0)
    if not clear.any():
        raise SwitchingError("central differences disagree with each other in every world; use another seed or warmup")
    errors = {}
    for name, fd in differences.items():
        error = np.abs(exact[name] - fd).max(axis=1) / size[name]
        errors[name] = float(np.where(np.isfinite(error), error, np.inf)[clear].max())
    count = getattr(getattr(getattr(env, "task", None), "dynamics", None), "active_contacts", None)
    contacts = None if count is None else int(np.asarray(count(state.physics))[clear].sum())
    worst = max(errors.values())
    faults = [] if worst <= TOLERANCE else _faults_on_the_way(subject, state, actions)
    return GradientReport(
        max_rel_error=worst,
        rel_error=errors,
        worlds=int(clear.sum()),
        switching=int((~clear).sum()),
        active_contacts=contacts,
        faults=tuple(faults),
    )


def _faults_on_the_way(subject: Subject, state: EnvState, actions: Array) -> list[str]:
    """What is wrong with the first of the steps in which something is."""
    for action in actions:
        if faults := derivative_faults(subject.env, state, action):
            return faults
        state = subject.step(state, action).state
    return []


def _directions(subject: Subject) -> Numbers:
    """``[kinds, np]``: a random direction for each kind of parameter, with entries in proportion to their values."""
    parameters: Any = subject.env.task.dynamics.parameters  # pyright: ignore[reportAttributeAccessIssue]
    kinds = [name.split(":")[0] for name in parameters.names]
    size = np.where(parameters.nominal == 0, 0.01, np.abs(parameters.nominal))
    rows = [subject.random.normal(size=len(kinds)) * size * [k == kind for k in kinds] for kind in dict.fromkeys(kinds)]
    return np.stack(rows)


def _loss(subject: Subject, state: EnvState, steps: int, directions: Numbers | None) -> Callable[[PyTree], Array]:
    """``[N]``: all outputs of the steps, times fixed random weights."""
    env, random = subject.env, subject.random

    def weights(like: Array) -> Array:
        return from_numpy(random.normal(size=tuple(like.shape)), like)

    on_reward = [weights(state.t) for _ in range(steps)]
    on_obs = [tree_map(weights, subject.start_obs) for _ in range(steps)]
    on_physics = tree_map(weights, state.physics)

    def weighted(on: PyTree, tree: PyTree) -> Array:
        leaves = zip(tree_leaves(on), tree_leaves(tree), strict=True)
        parts = [(weight * leaf).reshape((env.num_envs, -1)).sum(axis=1) for (_, weight), (_, leaf) in leaves]
        return sum(parts[1:], parts[0])

    def loss(inputs: PyTree) -> Array:
        constants = inputs.get("constants", state.constants)
        if directions is not None:
            moved = state.constants.params + inputs["parameters"] @ from_numpy(directions, state.t)
            constants = constants._replace(params=moved)
        now = state._replace(physics=inputs["physics"], constants=constants)
        total = None
        for k in range(steps):
            now, transition = env.step(now, inputs["actions"][k])
            part = on_reward[k] * transition.reward + weighted(on_obs[k], transition.final_obs)
            total = part if total is None else total + part
        return total + weighted(on_physics, now.physics)

    return loss


def _differences(
    loss: Callable[[PyTree], Numbers], inputs: PyTree, along: dict[str, Numbers], progress: Progress | None
) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """Best central differences ``[N, K]`` of each input along its ``K`` directions, and estimates of their errors."""
    best: dict[str, Numbers] = {}
    doubt: dict[str, Numbers] = {}
    here = loss(inputs)
    rounding = np.finfo(np.float64).eps * np.abs(here)
    done, total = 0, sum(map(len, along.values()))
    for name, leaf in tree_leaves(inputs):
        values = to_numpy(leaf)
        flat = _world_first(name, values)
        shape = (len(flat), len(along[name]))
        best[name], doubt[name], estimate = np.zeros(shape), np.zeros(shape), np.full(shape, np.inf)

        def shifted(
            column: int, by: float, name: str = name, flat: Numbers = flat, values: Numbers = values
        ) -> Numbers:
            moved = flat + by * along[name][column]
            return loss(_with(inputs, name, _world_last(name, moved, values.shape)))

        for column in range(shape[1]):
            if progress:
                progress(done / total)
            done += 1
            for h in _WIDTHS:
                up, down, far_up, far_down = (shifted(column, by) for by in (h, -h, 2 * h, -2 * h))
                narrow, wide = (up - down) / (2 * h), (far_up - far_down) / (4 * h)
                # right slope minus left slope, without the part from curvature, which grows with h: if a switch is much
                # nearer than h, differences of all widths agree on the mean of both slopes, which is neither
                kink = np.abs(2 * (up - 2 * here + down) / h - (far_up - 2 * here + far_down) / (2 * h))
                estimated, disagreement = (4 * narrow - wide) / 3, np.abs(narrow - wide) + rounding / h
                better = disagreement < estimate[:, column]
                # a switch inside the wider differences may cancel by chance, but narrower ones then give another slope
                moved = np.where(better, 0.0, np.abs(estimated - best[name][:, column]))
                uncertainty = np.maximum(disagreement, kink * (_SWITCHING / _KINK))
                doubt[name][:, column] = np.where(better, uncertainty, np.maximum(doubt[name][:, column], moved))
                best[name][better, column] = estimated[better]
                estimate[better, column] = disagreement[better]
    return best, doubt


def _with(inputs: PyTree, name: str, values: Numbers) -> PyTree:
    names = iter([leaf_name for leaf_name, _ in tree_leaves(inputs)])

    def replaced(leaf: Any) -> Any:
        return from_numpy(values, leaf) if next(names) == name else leaf

    return tree_map(replaced, inputs)


def _world_first(name: str, values: Numbers) -> Numbers:
    """``[N, coordinates]``; actions are time-major before."""
    if name == "actions":
        values = np.moveaxis(values, 1, 0)
    return values.reshape(values.shape[0], -1).copy()


def _world_last(name: str, flat: Numbers, shape: tuple[int, ...]) -> Numbers:
    if name == "actions":
        return np.moveaxis(flat.reshape(shape[1], shape[0], *shape[2:]), 1, 0)
    return flat.reshape(shape)
