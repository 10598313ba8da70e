"""Evaluation of a policy in fresh worlds, at the end of a run or during training."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

import diffsim_core

from ._errors import UsageError
from ._files import plain

if TYPE_CHECKING:
    from diffsim_core import Env, EnvState, Transition

    from ._algorithm import Policy


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The first episode of some worlds of an evaluation, as NumPy arrays ``[T, W, ...]``.

    Row ``t`` holds the state that the policy acted in, its action, and the reward. ``T`` is the longest of the ``W``
    episodes; a world with a shorter one continues with its next episode after ``length`` rows.
    """

    task: str
    """Name of the task."""
    dt: float
    """Duration of a row [s]."""
    physics: Any
    """State of the simulator in its own containers, for instance ``RigidState(q [T, W, nq], qd [T, W, nv])``."""
    memory: Any
    """The task's own state between steps, in its own containers; ``()`` if it has none."""
    action: np.ndarray[Any, Any]
    """``[T, W, na]`` as the policy returned it; the environment clips it to [-1, 1]."""
    reward: np.ndarray[Any, Any]
    """``[T, W]``"""
    length: np.ndarray[Any, Any]
    """Rows of the first episode of each world, int64 ``[W]``."""
    diverged: np.ndarray[Any, Any]
    """Whether that episode ended because its world left the finite range, bool ``[W]``."""


@dataclass(frozen=True)
class Evaluation:
    """Returns of whole episodes. Means are over the episodes that no world broke off by leaving the finite range."""

    returns: np.ndarray[Any, Any]
    """Undiscounted return of each episode, world by world, float64; of a broken one, what it had earned until then."""
    lengths: np.ndarray[Any, Any]
    """Control steps of each episode, int64."""
    broken: np.ndarray[Any, Any]
    """Whether each episode ended because its world left the finite range, bool."""
    env_steps: int
    """Control steps taken, summed over worlds."""
    seconds: float = 0.0
    """Wall-clock time of the evaluation [s]."""
    recording: Recording | None = None
    """The first worlds, if a recording was requested."""

    @property
    def diverged(self) -> int:
        """Episodes that were broken."""
        return int(self.broken.sum())

    @property
    def return_mean(self) -> float:
        """NaN where every episode was broken."""
        return self._of_whole(np.mean)

    @property
    def return_std(self) -> float:
        """Standard deviation over episodes."""
        return self._of_whole(np.std)

    @property
    def length_mean(self) -> float:
        """Of all episodes."""
        return float(self.lengths.mean())

    @property
    def score(self) -> float:
        """What policies are ranked by: the mean return, broken episodes counted as the worst of the others.

        Minus infinity where every episode was broken, so that it ranks below everything.
        """
        if self.broken.all():
            return -math.inf
        worst = self.returns[~self.broken].min()
        return float(np.where(self.broken, np.minimum(worst, self.returns), self.returns).mean())

    def to_json(self) -> dict[str, Any]:
        """The numbers under the names that ``diffrl eval --json`` prints; None for those that are not finite."""
        return plain(
            {
                "return_mean": self.return_mean,
                "return_std": self.return_std,
                "length_mean": self.length_mean,
                "episodes": len(self.returns),
                "diverged": self.diverged,
                "score": self.score,
                "eval_s": self.seconds,
            }
        )

    def _of_whole(self, statistic: Callable[[Any], Any]) -> float:
        whole = self.returns[~self.broken]
        return float(statistic(whole)) if len(whole) else math.nan


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """When and how a policy is evaluated during training: in separate worlds, so that training keeps its bits.

    The episodes are the same each time, so that only the policy changes between evaluations.
    """

    env: Env
    """Worlds to evaluate in; not the worlds of the training."""
    every: int
    """Updates between evaluations."""
    episodes: int = 128
    """Whole episodes of an evaluation."""
    seed: int = 0
    """Names the random numbers of the worlds."""

    def __post_init__(self) -> None:
        for name in ("every", "episodes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; an evaluator needs at least 1")

    def __call__(self, policy: Policy, record: int = 0) -> Evaluation:
        """Evaluate ``policy`` and record the first ``record`` worlds."""
        return evaluate(self.env, policy, episodes=self.episodes, seed=self.seed, record=record)


def evaluate(env: Env, policy: Policy, *, episodes: int, seed: int, record: int = 0) -> Evaluation:
    """Run ``policy`` until every world has finished its share of ``episodes``.

    The share of a world is fixed beforehand: the first ``episodes`` to finish in any world would mostly be short ones,
    which are the failures.

    Args:
        env: worlds to use; they are reset with ``seed`` first.
        policy: observations to actions.
        episodes: whole episodes to run, at least 1.
        seed: names the worlds' random numbers.
        record: number of worlds to record in their first episode, at most all.

    Raises:
        ValueError: ``episodes`` is not positive, or ``record`` is negative.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; expected at least 1")
    if record < 0:
        raise ValueError(f"record is {record}; expected a number of worlds, at least 0")
    start = time.perf_counter()
    n = env.num_envs
    share = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    finished: list[list[tuple[float, int, bool]]] = [[] for _ in range(n)]
    running, length, count = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    steps = 0
    restart = getattr(policy, "restart", lambda done: None)
    restart(None)
    tape = _Tape(env, min(record, n)) if record else None
    state, obs = env.reset(seed)
    advance = _step_of(env)
    # An episode may take one more step, in which a vector environment of Gymnasium only begins it.
    for _ in range(math.ceil(episodes / n) * (env.spec.horizon + 1)):
        before, action = state, policy(obs)
        state, step = advance(before, action)
        if tape is not None:
            tape.add(before, action, step)
        obs = step.obs
        restart(step.terminated | step.truncated)
        left = _numpy(step.diverged)
        taken = np.ones(n, dtype=bool) if step.valid is None else _numpy(step.valid) | left
        running += _numpy(step.reward)
        length += taken
        steps += int(taken.sum())
        done = (_numpy(step.terminated) | _numpy(step.truncated)) & taken
        if not done.any():
            continue
        for world in np.flatnonzero(done & (count < share)):
            finished[world].append((float(running[world]), int(length[world]), bool(left[world])))
        count += done
        running[done], length[done] = 0.0, 0
        if (count >= share).all():
            break
    whole = [episode for world in finished for episode in world]
    return Evaluation(
        np.asarray([value for value, _, _ in whole]),
        np.asarray([steps for _, steps, _ in whole], dtype=np.int64),
        np.asarray([left for _, _, left in whole], dtype=bool),
        steps,
        time.perf_counter() - start,
        tape.recording() if tape is not None else None,
    )


def returns_text(result: Mapping[str, Any]) -> str:
    """``return -81.2 +- 4.0 over 128 episodes``, and how many of them were broken; from ``Evaluation.to_json``."""
    text = f"over {result['episodes']} episodes"
    if result["diverged"]:
        text += f", {result['diverged']} of them broken by worlds that diverged"
    if result["return_mean"] is None:
        return f"no return {text}"
    return f"return {result['return_mean']:.1f} +- {result['return_std']:.1f} {text}"


class _Tape:
    """Collects the rows of a ``Recording`` until every world has finished its first episode."""

    def __init__(self, env: Env, worlds: int) -> None:
        self._env, self._worlds = env, worlds
        self._rows: list[tuple[Any, ...]] = []
        self._length, self._diverged = np.zeros(worlds, dtype=np.int64), np.zeros(worlds, dtype=bool)

    def add(self, state: EnvState, action: Any, step: Transition) -> None:
        if len(self._rows) and self._length.all():
            return
        row = (state.physics, state.task, action, step.reward)
        self._rows.append(diffsim_core.tree_map(lambda leaf: _numpy(leaf)[: self._worlds].copy(), row))
        ends = (_numpy(step.terminated) | _numpy(step.truncated))[: self._worlds] & (self._length == 0)
        self._length[ends] = len(self._rows)
        self._diverged |= ends & _numpy(step.diverged)[: self._worlds]

    def recording(self) -> Recording:
        def stack(*leaves: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.stack(leaves)

        physics, memory, action, reward = diffsim_core.tree_map(stack, *self._rows)
        return Recording(
            task=self._env.spec.name,
            dt=self._env.spec.dt,
            physics=physics,
            memory=memory,
            action=action,
            reward=reward,
            length=self._length,
            diverged=self._diverged,
        )


_compiled: WeakKeyDictionary[Any, Callable[..., Any]] = WeakKeyDictionary()
"""Steps of environments on JAX arrays."""


def _step_of(env: Env) -> Callable[[EnvState, Any], tuple[EnvState, Transition]]:
    """``env.step``, compiled for our tasks on JAX's arrays: by separate operations it takes forty times as long.

    Environments of Brax compile their own.
    """
    if not isinstance(env, diffsim_core.TaskEnv) or env.arrays != "jax":
        return env.step
    if env not in _compiled:
        import jax

        worlds = weakref.ref(env)
        _compiled[env] = jax.jit(lambda state, action: worlds().step(state, action))  # pyright: ignore
    return _compiled[env]


def _numpy(array: Any) -> np.ndarray[Any, Any]:
    return array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
