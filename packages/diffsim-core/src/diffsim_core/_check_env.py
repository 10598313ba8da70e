"""The promises of every environment, each a function that yields its violations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from diffsim_core._check_points import derivative_faults
from diffsim_core._finite import bad_entries
from diffsim_core._interop import backend_of, from_numpy, to_numpy, value_and_grad
from diffsim_core._protocol import Array, Env, EnvSpec, EnvState, PyTree, Transition
from diffsim_core._tree import tree_leaves, tree_map

Numbers = np.ndarray[Any, Any]


class CheckError(AssertionError):
    """An environment broke promises of the protocol; ``violations`` lists them all."""

    def __init__(self, name: str, violations: list[str]) -> None:
        self.violations = violations
        lines = "".join(f"\n  - {violation}" for violation in violations)
        super().__init__(f"environment {name!r} breaks {len(violations)} promise(s) of the protocol:{lines}")


class Outcome(NamedTuple):
    """Result of a step."""

    state: EnvState
    transition: Transition


class Start(NamedTuple):
    """Result of a reset."""

    state: EnvState
    obs: PyTree


class Subject:
    """The environment under test, with the helpers of all checks."""

    def __init__(self, env: Env, seed: int, num_steps: int) -> None:
        self.env = env
        self.seed = seed
        self.num_steps = num_steps
        self.first = Start(*env.reset(seed))
        self.start, self.start_obs = self.first
        self.backend = backend_of(self.start.t)
        self._step = self.backend.compiled(env.step)
        self.dtype = to_numpy(next(leaf for _, leaf in tree_leaves(self.start_obs))).dtype
        self.random = np.random.default_rng(seed)

    def actions(self, num_steps: int = 1) -> list[Array]:
        """Random actions inside the bounds."""
        shape = (self.env.num_envs, self.env.spec.num_actions)
        drawn = self.random.uniform(-0.9, 0.9, (num_steps, *shape)).astype(self.dtype)
        return [from_numpy(action, self.start.t) for action in drawn]

    def step(self, state: EnvState, action: Array) -> Outcome:
        return Outcome(*self._step(state, action))

    def run(self, state: EnvState, actions: list[Array]) -> Iterator[tuple[EnvState, Outcome]]:
        """The state before each step, and the result of the step."""
        for action in actions:
            before, outcome = state, self.step(state, action)
            state = outcome.state
            yield before, outcome

    def after(self, num_steps: int) -> EnvState:
        """State after that many steps under random actions."""
        state = self.start
        for _, outcome in self.run(state, self.actions(num_steps)):
            state = outcome.state
        return state

    def at_time_limit(self, state: EnvState) -> EnvState:
        """The same state, one step before its episodes are truncated."""
        t = np.full(self.env.num_envs, self.env.spec.horizon - 1, dtype=np.int32)
        return state._replace(t=from_numpy(t, state.t))

    def pull(self, state: EnvState, action: Array, target: Callable[[EnvState, Transition], Array]) -> PyTree:
        """Gradient of the sum of ``target`` of one step with respect to (physics, action)."""

        def function(inputs: PyTree) -> Array:
            after, transition = self.env.step(state._replace(physics=inputs[0]), inputs[1])
            return target(after, transition).sum()

        return value_and_grad(function, (state.physics, action))[1]


def numbers(tree: PyTree) -> dict[str, Numbers]:
    return {name: to_numpy(leaf) for name, leaf in tree_leaves(tree)}


def differing(a: PyTree, b: PyTree, worlds: slice | Numbers | None = None) -> list[str]:
    """Names of leaves whose bits differ (in the given worlds)."""
    names = []
    for (name, one), other in zip(numbers(a).items(), numbers(b).values(), strict=True):
        if one.ndim and worlds is not None:
            one, other = one[worlds], other[worlds]
        if one.shape != other.shape or one.dtype != other.dtype or one.tobytes() != other.tobytes():
            names.append(name)
    return names


def shapes(s: Subject) -> Iterator[str]:
    """Arrays have the shapes and types of the protocol."""
    n, spec = s.env.num_envs, s.env.spec
    if spec.horizon < 1 or not spec.dt > 0:
        yield f"spec has horizon={spec.horizon}, dt={spec.dt}; both must be positive"
    for label, names, count in (
        ("obs_names", spec.obs_names, spec.num_obs if not spec.obs_shapes else 0),
        ("action_names", spec.action_names, spec.num_actions),
        ("control_range", spec.control_range, spec.num_actions),
    ):
        if len(names) not in (0, count):
            yield f"spec.{label} has {len(names)} entries, expected {count} or none"
    state, transition = s.step(s.start, s.actions()[0])
    expected: dict[str, tuple[tuple[int, ...], Any]] = {"reward": ((n,), s.dtype)}
    for which in ("final_obs", "obs", "reset obs"):
        expected |= {f"{which}.{name}": ((n, *shape), s.dtype) for name, shape in spec.obs_shapes.items()}
        if not spec.obs_shapes:
            expected[which] = ((n, spec.num_obs), s.dtype)
    expected |= {name: ((n,), np.dtype(bool)) for name in ("terminated", "truncated", "diverged")}
    expected |= {f"metrics.{name}": ((n,), None) for name in transition.metrics}
    arrays = numbers(transition) | {name: to_numpy(leaf) for name, leaf in tree_leaves(s.start_obs, "reset obs")}
    for name in arrays.keys() ^ expected.keys():
        yield f"{name} is {'not expected' if name in arrays else 'missing'}; spec.obs_shapes is {dict(spec.obs_shapes)}"
    for name, (shape, dtype) in expected.items():
        if name not in arrays:
            continue
        if arrays[name].shape != shape or dtype not in (None, arrays[name].dtype):
            yield f"{name} has shape {arrays[name].shape}, dtype {arrays[name].dtype}; expected {shape}, {dtype}"
    for (name, old), new in zip(numbers(s.start).items(), numbers(state).values(), strict=True):
        if old.shape != new.shape or old.dtype != new.dtype:
            yield f"state.{name} was {old.shape}, {old.dtype} and is {new.shape}, {new.dtype} after a step"


def determinism(s: Subject) -> Iterator[str]:
    """The same seed and actions give the same bits."""
    actions = s.actions(s.num_steps)
    again = Start(*s.env.reset(s.seed))
    for name in differing(s.first, again):
        yield f"reset({s.seed}) twice gives different bits in {name}"
    for k, (one, two) in enumerate(zip(s.run(s.start, actions), s.run(again.state, actions), strict=True)):
        if names := differing(one[1], two[1]):
            yield f"the same seed and actions give different bits at step {k} in {', '.join(names)}"
            return


def bookkeeping(s: Subject) -> Iterator[str]:
    """Flags, counters and observations agree with each other at every step, and at the time limit."""
    actions = s.actions(s.num_steps + 1)
    steps = list(s.run(s.start, actions[:-1]))
    steps += s.run(s.at_time_limit(steps[-1][1].state), actions[-1:])
    said: set[str] = set()
    for k, (before, (after, transition)) in enumerate(steps):
        for violation in _books(before, after, transition, s.env.spec):
            if violation not in said:  # most mistakes are made at every step
                said.add(violation)
                yield f"at step {k}: {violation}"


def _books(before: EnvState, after: EnvState, transition: Transition, spec: EnvSpec) -> Iterator[str]:
    row, old, new = numbers(transition), numbers(before), numbers(after)
    done = row["terminated"] | row["truncated"]
    if (row["terminated"] & row["truncated"]).any():
        yield f"terminated and truncated both hold in worlds {_worlds(row['terminated'] & row['truncated'])}"
    for name in row:
        twin = name.replace("obs", "final_obs", 1)
        if (name == "obs" or name.startswith("obs.")) and not _same(row[name][~done], row[twin][~done]):
            yield f"{name} differs from {twin} in a world that is not done"
    if (new["episode"] != old["episode"] + done).any():
        yield "episode must grow by one exactly where done"
    if (new["t"] != np.where(done, 0, old["t"] + 1)).any():
        yield "t must restart at 0 where done and grow by one elsewhere"
    late = (old["t"] + 1 >= spec.horizon) & ~done
    if late.any():
        yield f"worlds {_worlds(late)} passed the time limit of {spec.horizon} steps"
    for name, values in (row | new).items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            yield _not_finite(name, values, spec)


def clipping(s: Subject) -> Iterator[str]:
    """Actions outside [-1, 1] act like the nearest bound."""
    action = s.actions()[0]
    sign = from_numpy(np.sign(to_numpy(action)), action)
    one, two = s.step(s.start, sign), s.step(s.start, sign * 3)
    for name in differing(one, two):
        yield f"an action of 3 gives another {name} than an action of 1; clip actions to [-1, 1]"


def independence(s: Subject) -> Iterator[str]:
    """One world changes no bit of another."""
    actions = s.actions(s.num_steps)
    others = np.arange(s.env.num_envs) != 0

    def disturbed(action: Array) -> Array:
        values = to_numpy(action)
        values[0] *= -1
        return from_numpy(values, action)

    pairs = zip(s.run(s.start, actions), s.run(s.start, [disturbed(action) for action in actions]), strict=True)
    for k, (one, two) in enumerate(pairs):
        if names := differing(one[1], two[1], others):
            yield f"another action in world 0 changes other worlds at step {k} in {', '.join(names)}"
            return


def number_of_worlds(s: Subject, fewer: Env) -> Iterator[str]:
    """World i is the same whatever the number of worlds, bit for bit, through resets."""
    few = Subject(fewer, s.seed, s.num_steps)
    worlds = slice(fewer.num_envs)
    actions = s.actions(s.num_steps)
    cut = [from_numpy(to_numpy(action)[worlds], action) for action in actions]
    for name in differing(s.first, few.first, worlds):
        yield f"{fewer.num_envs} and {s.env.num_envs} worlds start with different bits in {name}"
    pairs = zip(s.run(s.at_time_limit(s.start), actions), few.run(few.at_time_limit(few.start), cut), strict=True)
    for k, (one, two) in enumerate(pairs):
        if names := differing(one[1], two[1], worlds):
            yield f"{fewer.num_envs} and {s.env.num_envs} worlds differ at step {k} in {', '.join(names)}"
            return


def gradients(s: Subject) -> Iterator[str]:
    """Gradients are finite, reach rewards and final_obs, and do not pass a reset."""
    late, action = s.at_time_limit(s.after(s.num_steps)), s.actions()[0]
    targets = (("reward", lambda a, r: r.reward), ("final_obs", lambda a, r: _summed(r.final_obs)))
    for when, state in (("at the first step", s.start), ("at a truncated step", late)):
        faults = derivative_faults(s.env, state, action)
        yield from (f"{when}, {fault}" for fault in faults)
        for name, target in targets:
            gradient = numbers(s.pull(state, action, target))
            if not all(np.isfinite(values).all() for values in gradient.values()):
                if not faults:
                    yield f"{when}, the gradient of {name} is not finite"
            elif state is late and not any(values.any() for values in gradient.values()) and _depends(s, late, name):
                yield f"the gradient of {name} is zero at a truncated step; it must reach the episode that ended"

    # every world is done here, so no gradient may pass
    def everything(after: EnvState, transition: Transition) -> Array:
        return _summed((after.physics, transition.obs))

    gradient = numbers(s.pull(late, action, everything))
    largest = max(float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) for values in gradient.values())
    if largest > 0.0:
        yield f"a gradient of {largest:g} passes through a reset; it must be exactly 0"


def containment(s: Subject) -> Iterator[str]:
    """A world that leaves the finite range affects no other world."""
    action, bad = s.actions()[0], s.env.num_envs // 2
    others = np.arange(s.env.num_envs) != bad

    def spoilt(leaf: Array, value: float) -> Array:
        values = to_numpy(leaf)
        if values.dtype.kind == "f":
            values[bad] = value
        return from_numpy(values, leaf)

    def reward(_: EnvState, transition: Transition) -> Array:
        return transition.reward

    clean, clean_grad = s.step(s.start, action), s.pull(s.start, action, reward)

    def infinite(tree: PyTree) -> PyTree:
        return tree_map(lambda leaf: spoilt(leaf, np.inf), tree)

    cases = {
        "an infinite state": (s.start._replace(physics=infinite(s.start.physics)), action),
        "an action that is not a number": (s.start, spoilt(action, np.nan)),
    }
    if next(tree_leaves(s.start.constants), None) is not None:
        cases["an infinite constant"] = (s.start._replace(constants=infinite(s.start.constants)), action)
    for what, (state, act) in cases.items():
        after, transition = s.step(state, act)
        row = numbers(transition)
        wrong = [
            name
            for name, expected in (("diverged", True), ("truncated", True), ("terminated", False), ("reward", 0.0))
            if row[name][bad] != expected
        ]
        if wrong:
            yield f"after {what}: {', '.join(f'{name} is {row[name][bad]}' for name in wrong)} in the diverged world"
        for name, values in (row | numbers(after.physics)).items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                yield f"after {what}: {_not_finite(name, values, s.env.spec)}"
        for name in differing(clean, Outcome(after, transition), others):
            yield f"after {what} in one world: other worlds change in {name}"
        if not all(np.isfinite(values).all() for values in numbers(clean_grad).values()):
            continue  # which ``gradients`` says, with the cause
        grad = s.pull(state, act, reward)
        if any(not np.isfinite(values).all() for values in numbers(grad[1]).values()):
            yield f"after {what}: the gradient with respect to the actions is not finite"
        for name in differing(clean_grad, grad, others):
            yield f"after {what} in one world: gradients of other worlds change in {name or 'action'}"


def _summed(tree: PyTree) -> Array:
    """Sum of all numbers, a scalar."""
    leaves = [leaf.sum() for _, leaf in tree_leaves(tree)]
    return sum(leaves[1:], leaves[0])


def _depends(s: Subject, state: EnvState, name: str) -> bool:
    """Whether that part of a transition changes with the action (a task may observe nothing)."""
    first, second = (numbers(getattr(s.step(state, action).transition, name)) for action in s.actions(2))
    return any((first[leaf] != second[leaf]).any() for leaf in first)


def _not_finite(name: str, values: Numbers, spec: EnvSpec) -> str:
    entries = bad_entries(values, spec.obs_names if name in ("obs", "final_obs") else ())
    return f"{name} is not finite" + (f": {entries}" if entries else "")


def _same(a: Numbers, b: Numbers) -> bool:
    """Whether all numbers are equal; one that is not a number equals another."""
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _worlds(mask: Numbers) -> str:
    worlds = np.flatnonzero(mask)
    return ", ".join(map(str, worlds[:5])) + (", ..." if len(worlds) > 5 else "")
