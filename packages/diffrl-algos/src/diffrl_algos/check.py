"""The conformance kit of algorithms: run it on your own algorithm before you train with it.

``check_algorithm`` tests everything that the training loop, checkpoints and resumed runs rely on. It works with every
framework, because it compares states as the arrays that the algorithm's own ``to_arrays`` returns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core import Env, EnvState, Transition

from ._algorithm import Algorithm

Arrays = dict[str, np.ndarray]


class CheckError(AssertionError):
    """An algorithm broke promises; ``violations`` lists all of them."""

    def __init__(self, name: str, violations: list[str]) -> None:
        self.violations = violations
        lines = "".join(f"\n  - {violation}" for violation in violations)
        super().__init__(f"algorithm {name!r} breaks {len(violations)} promise(s):{lines}")


def check_algorithm(algorithm: Algorithm, make_env: Callable[[], Env], *, updates: int = 2, seed: int = 0) -> list[str]:
    """Test every promise an algorithm makes.

    Args:
        algorithm: the algorithm, with a configuration whose updates are quick.
        make_env: makes an environment that it can learn in, the same each time. Its episodes should end within a few
            windows, and begin differently with another seed.
        updates: updates in each half of a run.
        seed: seed of the runs.

    Returns:
        The tested promises.

    Raises:
        CheckError: it lists every broken promise.
    """
    subject = _Subject(algorithm, make_env, updates, seed)
    checks = [_bookkeeping, _determinism, _resume, _arguments, _foreign_arrays, _policies, _numbers]
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
        """A copy, because some arrays may be views of the state."""
        return {name: np.array(array) for name, array in self.algorithm.to_arrays(state).items()}

    def differing(self, a: Any, b: Any) -> list[str]:
        """Names of arrays whose bits differ."""
        one, other = (x if isinstance(x, dict) else self.arrays(x) for x in (a, b))
        names = sorted(one.keys() | other.keys())
        return [n for n in names if n not in one or n not in other or one[n].tobytes() != other[n].tobytes()]


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
            yield "metrics have no return_mean"
        for name, value in ((name, value) for name, value in metrics.items() if name != "divergences"):
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                yield f"metrics.{name} is of type {type(value).__name__}, which JSON cannot hold"
            if isinstance(value, float) and not math.isfinite(value):
                yield f"metrics.{name} is {value} in update {k + 1}; return None for an unknown value"


def _determinism(s: _Subject) -> Iterator[str]:
    """The same seed gives the same bits, another seed another run."""
    one, again, other = s.run(s.start()), s.run(s.start()), s.run(s.start(s.seed + 1))
    if names := s.differing(one, again):
        yield f"the same seed gives different bits in {', '.join(names)}"
    if not s.differing(one, other):
        yield f"seeds {s.seed} and {s.seed + 1} give the same run"


def _resume(s: _Subject) -> Iterator[str]:
    """A run that is resumed from its arrays continues to the same bits."""
    half = s.run(s.start())
    saved = s.arrays(half)
    for name, array in saved.items():
        if not isinstance(name, str) or array.dtype.kind not in "biuf":
            yield f"to_arrays returns {name!r} with dtype {array.dtype}; a checkpoint holds named arrays of numbers"
    restored = s.algorithm.from_arrays(s.start(), saved)
    if names := s.differing(saved, restored):
        yield f"from_arrays does not restore {', '.join(names)}"
    elif names := s.differing(s.run(half), s.run(restored)):
        yield f"{s.updates} more updates after to_arrays and from_arrays give different bits in {', '.join(names)}"


def _arguments(s: _Subject) -> Iterator[str]:
    """An update does not change the state that it is given."""
    state = s.run(s.start(), 1)
    before = s.arrays(state)
    once = s.run(state, 1)
    if names := s.differing(before, state):
        yield f"update changes {', '.join(names)} of the state it was given"
    elif names := s.differing(once, s.run(state, 1)):
        yield f"two updates of one state give different bits in {', '.join(names)}"


def _foreign_arrays(s: _Subject) -> Iterator[str]:
    """Arrays that do not fit the state are refused with an error that names one."""
    state = s.start()
    arrays = s.arrays(state)
    largest = max(arrays, key=lambda name: arrays[name].size)
    wrong = {**arrays, largest: np.append(arrays[largest].ravel(), arrays[largest].ravel()[:1])}
    for what, given in (("without any array", {}), (f"with {largest!r} too long", wrong)):
        try:
            s.algorithm.from_arrays(state, given)
        except ValueError as error:
            if not any(name in str(error) for name in arrays):
                yield f"from_arrays {what} raises an error that names no array: {error}"
        except Exception as error:  # any other exception is a violation
            yield f"from_arrays {what} raises {type(error).__name__}; expected a ValueError that names the array"
        else:
            yield f"from_arrays {what} raises no error; expected a ValueError that names the array"


def _policies(s: _Subject) -> Iterator[str]:
    """The policy returns actions of the right shape in [-1, 1], the same each time it is made."""
    state, env = s.run(s.start()), s.make_env()
    _, obs = env.reset(s.seed)
    shape = (env.num_envs, env.spec.num_actions)
    for deterministic in (True, False):
        what = f"policy(deterministic={deterministic})"
        first, again = (_numpy(s.algorithm.policy(state, deterministic=deterministic, seed=3)(obs)) for _ in range(2))
        if first.shape != shape:
            yield f"{what} returns actions of shape {first.shape}, expected {shape}"
        if not (np.abs(first) <= 1).all():
            yield f"{what} returns actions outside [-1, 1]"
        if first.tobytes() != again.tobytes():
            yield f"{what} made twice with one seed returns different actions"


def _numbers(s: _Subject) -> Iterator[str]:
    """A reward that is not a number may cost an update, but not the policy."""
    spoiled = _NaNReward(s.make_env())
    state = s.run(s.algorithm.init(spoiled, s.seed), 1)
    spoiled.countdown = 2
    try:
        for what in ("a reward that is not a number", "one more update"):
            state = s.run(state, 1)
            action = _numpy(s.algorithm.policy(state)(spoiled.reset(s.seed)[1]))
            if not np.isfinite(action).all():
                yield f"after {what} the policy's actions are not finite"
                return
    except Exception as error:  # a run must continue in any case
        yield f"a reward that is not a number ends in {type(error).__name__}: {error}"


class _NaNReward:
    """Worlds in which the reward of one step, ``countdown`` steps from now, is not a number."""

    def __init__(self, env: Env) -> None:
        self.env, self.spec, self.num_envs, self.countdown = env, env.spec, env.num_envs, 0

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        return self.env.reset(seed)

    def step(self, state: EnvState, action: Any) -> tuple[EnvState, Transition]:
        state, step = self.env.step(state, action)
        self.countdown -= 1
        return state, step._replace(reward=step.reward * math.nan) if self.countdown == 0 else step


def _numpy(array: Any) -> np.ndarray:
    return array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
