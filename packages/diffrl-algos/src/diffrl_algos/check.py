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

from ._algorithm import Algorithm
from ._fields import from_mapping, to_mapping

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
        *(_configuration, _bookkeeping, _determinism, _resume, _arguments, _graphs),
        *(_foreign_arrays, _policies, _numbers),
    ]
    violations = [violation for check in checks for violation in check(subject)]
    if violations:
        raise CheckError(getattr(algorithm, "name", type(algorithm).__name__), violations)
    return [(check.__doc__ or "").strip() for check in checks]


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
    state = s.start()
    if state.iteration != 0:
        yield f"iteration is {state.iteration} before the first update, expected 0"
    for k in range(s.updates):
        before = state.env_steps
        state, metrics = s.algorithm.update(state)
        if state.iteration != k + 1:
            yield f"iteration is {state.iteration} after {k + 1} updates"
        if not state.env_steps > before:
            yield f"env_steps stays at {before} in update {k + 1}"
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
    if not s.differing(one, other):
        yield f"seeds {s.seed} and {s.seed + 1} give the same run; networks and worlds must depend on the seed"


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
    """A state holds no graph of the window that it was learned from."""
    if names := [name for name, leaf in _leaves(s.run(s.start(), 1)) if getattr(leaf, "grad_fn", None) is not None]:
        yield f"the state keeps the graph of its update in {_listed(names)}, so memory grows without end; detach it"


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
        first, again = (_numpy(s.algorithm.policy(state, deterministic=deterministic, seed=3)(obs)) for _ in range(2))
        if first.shape != shape:
            yield f"{what} gives actions of shape {first.shape}, expected {shape}"
        if not (np.abs(first) <= 1).all():
            yield f"{what} gives actions outside [-1, 1]; the environment would clip them, end with tanh"
        if first.tobytes() != again.tobytes():
            yield f"{what} made twice with one seed gives different actions; {_GENERATOR}"


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
