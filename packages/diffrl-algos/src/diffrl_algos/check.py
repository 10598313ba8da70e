"""The conformance kit of algorithms: run it on your own before you train with it.

``check_algorithm`` tests what the training loop, checkpoints and resumed runs rely on. It knows of no framework:
states are compared as the arrays that the algorithm itself gives of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core import Env, EnvState, Transition
from diffsim_core._raised import tried

from ._algorithm import Algorithm
from ._fields import from_mapping, to_mapping
from ._watched import Watched, global_generators, own_generators

Arrays = dict[str, np.ndarray]


class CheckError(AssertionError):
    """An algorithm broke promises; ``violations`` lists them all."""

    def __init__(self, name: str, violations: list[str]) -> None:
        self.violations = violations
        lines = "".join(f"\n  - {violation}" for violation in violations)
        super().__init__(f"algorithm {name!r} breaks {len(violations)} promise(s):{lines}")


def check_algorithm(algorithm: Algorithm, make_env: Callable[[], Env], *, updates: int = 2, seed: int = 0) -> list[str]:
    """Test every promise an algorithm makes.

    Args:
        algorithm: the algorithm, with a configuration whose updates are quick.
        make_env: makes an environment that it can learn in, the same each time; its episodes should end, and begin
            differently with another seed.
        updates: updates in each half of a run.
        seed: of the runs.

    Returns:
        The promises that were tested.

    Raises:
        CheckError: listing every promise that was broken.
    """
    subject = _Subject(algorithm, make_env, updates, seed)
    checks = [
        *(_configuration, _bookkeeping, _determinism, _generators, _resume, _arguments, _graphs),
        *(_foreign_arrays, _policies, _finite, _numbers),
    ]
    violations = tried(_interface, subject)
    violations = violations or [violation for check in checks for violation in tried(check, subject)]
    if violations:
        raise CheckError(getattr(algorithm, "name", type(algorithm).__name__), violations)
    return [(check.__doc__ or "").strip() for check in (_interface, *checks)]


@dataclass(frozen=True)
class _Subject:
    algorithm: Algorithm
    make_env: Callable[[], Env]
    updates: int
    seed: int

    def start(self, seed: int | None = None) -> Any:
        return self.algorithm.init(self.make_env(), self.seed if seed is None else seed)

    def run(self, state: Any, updates: int | None = None) -> Any:
        for _ in range(self.updates if updates is None else updates):
            state, _ = self.algorithm.update(state)
        return state

    def arrays(self, state: Any) -> Arrays:
        """A copy, as some of them may be views of the state."""
        return {name: np.array(array) for name, array in self.algorithm.to_arrays(state).items()}

    def differing(self, a: Any, b: Any) -> list[str]:
        """Names of arrays whose bits are not the same."""
        one, other = (x if isinstance(x, dict) else self.arrays(x) for x in (a, b))
        names = sorted(one.keys() | other.keys())
        return [n for n in names if n not in one or n not in other or one[n].tobytes() != other[n].tobytes()]


def _interface(s: _Subject) -> Iterator[str]:
    """The algorithm has its five functions, and its state the fields that a run reads."""
    functions = ("init", "update", "policy", "to_arrays", "from_arrays")
    absent = [name for name in functions if not callable(getattr(s.algorithm, name, None))]
    if absent:
        yield f"the algorithm has no {_listed(absent)}; it needs {', '.join(functions)}"
        return
    env = s.make_env()
    state = s.algorithm.init(env, s.seed)
    for when in ("init", "update"):
        if when == "update":
            pair = s.algorithm.update(state)
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], Mapping):
                yield f"update gives {type(pair).__name__}; it must give (state, metrics), metrics a mapping"
                return
            state = pair[0]
        lost = [name for name in _FIELDS if not hasattr(state, name)]
        if lost:
            yield f"the state that {when} gives has no {_listed(lost)}; a state needs {', '.join(_FIELDS)}"
            return
        for name in ("iteration", "env_steps"):
            if type(getattr(state, name)) is not int:
                kind = type(getattr(state, name)).__name__
                yield f"state.{name} is of type {kind} after {when}; it must be an int"


def _configuration(s: _Subject) -> Iterator[str]:
    """The algorithm has a name, and a frozen configuration of plain values that ``run.json`` gives back."""
    if not isinstance(getattr(s.algorithm, "name", None), str):
        yield "the algorithm has no name; give it the one that it has on the command line"
    config = s.algorithm.config
    if not dataclasses.is_dataclass(config) or not type(config).__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
        yield f"config is of type {type(config).__name__}; make it a dataclass with frozen=True"
        return
    if not hasattr(config, "iterations"):
        yield "config has no field iterations; give it the updates of a full run"
    try:
        again = from_mapping(type(config), json.loads(json.dumps(to_mapping(config))))
    except (TypeError, ValueError) as error:
        yield f"config does not survive run.json: {error}"
    else:
        if again != config:
            changed = [f.name for f in dataclasses.fields(config) if getattr(again, f.name) != getattr(config, f.name)]
            yield f"config does not survive run.json: {_listed(changed)} changed"


def _bookkeeping(s: _Subject) -> Iterator[str]:
    """Updates and steps are counted, and metrics are numbers that JSON can hold, ``return_mean`` among them."""
    worlds = Watched(s.make_env())
    state = s.algorithm.init(worlds, s.seed)
    if state.iteration != 0:
        yield f"iteration is {state.iteration} before the first update, expected 0"
    for k in range(s.updates):
        before, stepped = state.env_steps, worlds.steps
        state, metrics = s.algorithm.update(state)
        if state.iteration != k + 1:
            yield f"iteration is {state.iteration} after {k + 1} updates"
        if not state.env_steps > before:
            yield f"env_steps stays at {before} in update {k + 1}"
        elif worlds.steps is not None and state.env_steps - before != worlds.steps - (stepped or 0):
            taken = worlds.steps - (stepped or 0)
            yield (
                f"env_steps grows by {state.env_steps - before} in update {k + 1}, which took {taken} steps; count the "
                "control steps of all worlds"
            )
        if "return_mean" not in metrics:
            yield "metrics have no return_mean; give the mean return of the episodes that ended last, None before"
        for name, value in metrics.items():
            if name == "divergences":
                continue
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                yield f"metrics.{name} is of type {type(value).__name__}, which JSON cannot hold; give a number"
            if isinstance(value, float) and not math.isfinite(value):
                yield f"metrics.{name} is {value} in update {k + 1}; give None for what is not known"


def _determinism(s: _Subject) -> Iterator[str]:
    """The same seed gives the same bits, another seed another run."""
    one, again, other = s.run(s.start()), s.run(s.start()), s.run(s.start(s.seed + 1))
    if names := s.differing(one, again):
        yield f"the same seed gives different bits in {_listed(names)}; {_GENERATOR}"
    begun, otherwise = s.arrays(s.start()), s.arrays(s.start(s.seed + 1))
    same = [name for name, array in begun.items() if name in otherwise and _drawn(array, otherwise[name])]
    if not s.differing(one, other):
        yield f"seeds {s.seed} and {s.seed + 1} give the same run; networks and worlds must depend on the seed"
    elif same:
        yield f"seeds {s.seed} and {s.seed + 1} begin with the same {_listed(same)}; draw it from the seed"


def _drawn(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal and look like random numbers."""
    return one.dtype.kind == "f" and one.tobytes() == other.tobytes() and len(np.unique(one)) > 16


def _generators(s: _Subject) -> Iterator[str]:
    """The random generators of the process stay as they are: whoever else uses one would change the run."""
    with own_generators():
        env = s.make_env()
        obs = env.reset(s.seed)[1]
        state: Any = None
        for what in ("init", "update", "policy"):
            before = global_generators()
            if what == "init":
                state = s.algorithm.init(env, s.seed)
            elif what == "update":
                state, _ = s.algorithm.update(state)
            else:
                s.algorithm.policy(state, deterministic=False, seed=3)(obs)
            after = global_generators()
            for name in [name for name in before if after[name] != before[name]]:
                yield f"{what} uses the global generator of {name}; {_GENERATOR}"


def _resume(s: _Subject) -> Iterator[str]:
    """A run that is resumed from its arrays continues to the same bits."""
    half = s.run(s.start())
    saved = s.arrays(half)
    for name, array in saved.items():
        if not isinstance(name, str) or array.dtype.kind not in "biuf":
            yield f"to_arrays gives {name!r} with dtype {array.dtype}; a checkpoint holds numbers under names"
    restored = s.algorithm.from_arrays(s.start(), saved)
    if names := s.differing(saved, restored):
        yield f"from_arrays does not restore {_listed(names)}"
    elif names := s.differing(s.run(half), s.run(restored)):
        if s.differing(s.run(half), s.run(half)):
            return  # updates differ by themselves, which _arguments says
        lost = [
            f"state.{name} is of type {type(leaf).__name__}, which is in no array"
            for name, leaf in _leaves(half)
            if isinstance(leaf, bool | float | np.ndarray | np.generic) and name not in saved
        ]
        why = lost[0] if lost else "all that updates depend on must be among the state's arrays"
        yield (
            f"{s.updates} more updates after to_arrays and from_arrays give different bits in {_listed(names)}; {why}"
        )


def _arguments(s: _Subject) -> Iterator[str]:
    """An update leaves the state it was given as it was."""
    state = s.run(s.start(), 1)
    before = s.arrays(state)
    once = s.run(state, 1)
    if names := s.differing(before, state):
        yield f"update changes {_listed(names)} of the state it was given; write to a clone"
    elif names := s.differing(once, s.run(state, 1)):
        yield f"two updates of one state give different bits in {_listed(names)}; {_GENERATOR}"


def _graphs(s: _Subject) -> Iterator[str]:
    """Nothing holds the graph of the window that was learned from."""
    worlds = Watched(s.make_env())
    state = s.algorithm.init(worlds, s.seed)
    state = s.run(state, 1)
    if names := [name for name, leaf in _leaves(state) if getattr(leaf, "grad_fn", None) is not None]:
        yield f"the state keeps the graph of its update in {_listed(names)}, so memory grows without end; detach it"
    elif worlds.held():
        yield (
            "the window of an update is not cut: its graph is still held after it, so memory grows without end; keep "
            "diffsim_core.stop_gradient(env_state), and detach what else is kept"
        )


def _foreign_arrays(s: _Subject) -> Iterator[str]:
    """Arrays that are not a state's are refused with an error that names one."""
    state = s.start()
    arrays = s.arrays(state)
    largest = max(arrays, key=lambda name: arrays[name].size)
    wrong = {**arrays, largest: np.append(arrays[largest].ravel(), arrays[largest].ravel()[:1])}
    for what, given in (("no arrays at all", {}), (f"{largest!r} with one number too many", wrong)):
        try:
            s.algorithm.from_arrays(state, given)
        except ValueError as error:
            if not any(name in str(error) for name in arrays):
                yield f"from_arrays, given {what}, raises an error that names no array: {error}"
        except Exception as error:  # whatever it raises instead is the finding
            yield f"from_arrays, given {what}, raises {type(error).__name__}, not a ValueError that names the array"
        else:
            yield f"from_arrays accepts {what}; it must raise a ValueError that names the array"


def _policies(s: _Subject) -> Iterator[str]:
    """The policy gives actions of the right shape in [-1, 1], the same each time it is made."""
    state, env = s.run(s.start()), s.make_env()
    _, obs = env.reset(s.seed)
    shape = (env.num_envs, env.spec.num_actions)
    for deterministic in (True, False):
        what = f"policy(deterministic={deterministic})"
        actions = s.algorithm.policy(state, deterministic=deterministic, seed=3)(obs)
        if getattr(actions, "requires_grad", False):
            yield f"{what} gives actions with a gradient; act without one, for instance under torch.no_grad()"
        first = _numpy(actions)
        again = _numpy(s.algorithm.policy(state, deterministic=deterministic, seed=3)(obs))
        if first.shape != shape:
            yield f"{what} gives actions of shape {first.shape}, expected {shape}"
        if not np.isfinite(first).all():
            yield f"{what} gives actions that are not finite"
        elif not (np.abs(first) <= 1).all():
            yield f"{what} gives actions outside [-1, 1]; the environment would clip them, end with tanh"
        if first.tobytes() != again.tobytes():
            yield f"{what} made twice with one seed gives different actions; {_GENERATOR}"


def _finite(s: _Subject) -> Iterator[str]:
    """What was finite before the first update is finite after the last."""
    begun = s.arrays(s.start())
    ended = s.arrays(s.run(s.start()))
    bad = [
        name
        for name, array in ended.items()
        if array.dtype.kind == "f" and name in begun and np.isfinite(begun[name]).all() and not np.isfinite(array).all()
    ]
    if bad:
        yield f"{_listed(bad)} is not finite after {s.updates} updates; such an update must change no parameter"


def _numbers(s: _Subject) -> Iterator[str]:
    """A reward that is not a number costs an update and not the policy."""
    spoilt = _Spoilt(s.make_env())
    state = s.run(s.algorithm.init(spoilt, s.seed), 1)
    spoilt.countdown = 2
    try:
        for what in ("a reward that is not a number", "one more update"):
            state = s.run(state, 1)
            action = _numpy(s.algorithm.policy(state)(spoilt.reset(s.seed)[1]))
            if not np.isfinite(action).all():
                yield f"after {what} the policy's actions are not finite; such an update must change no parameter"
                return
    except Exception as error:  # a run must go on, whatever happened
        yield f"a reward that is not a number ends in {type(error).__name__}: {error}; refuse the update and go on"


class _Spoilt:
    """Worlds in which the reward of one step, ``countdown`` from now, is not a number."""

    def __init__(self, env: Env) -> None:
        self.env, self.spec, self.num_envs, self.countdown = env, env.spec, env.num_envs, 0

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self.env.reset(seed)

    def step(self, state: EnvState, action: Any) -> tuple[EnvState, Transition]:
        state, step = self.env.step(state, action)
        self.countdown -= 1
        return state, step._replace(reward=step.reward * math.nan) if self.countdown == 0 else step


_FIELDS = ("env", "iteration", "env_steps")
"""What every state has; the rest is the algorithm's own."""
_GENERATOR = "draw all random numbers from a generator that follows from the seed and is part of the state"


def _listed(names: list[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """``(name, leaf)`` of the dataclasses, tuples, lists and mappings that a state is made of, worlds left out."""
    if hasattr(tree, "step") and hasattr(tree, "reset"):
        return
    if dataclasses.is_dataclass(tree):
        parts = [(field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree)]
    elif isinstance(tree, Mapping):
        parts = list(tree.items())
    elif isinstance(tree, tuple | list):
        parts = list(zip(getattr(tree, "_fields", range(len(tree))), tree, strict=True))
    else:
        yield name, tree
        return
    for key, part in parts:
        yield from _leaves(part, f"{name}.{key}" if name else str(key))


def _numpy(array: Any) -> np.ndarray:
    return array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
