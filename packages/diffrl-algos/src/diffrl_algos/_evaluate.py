"""Evaluation of a policy on fresh worlds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from diffsim_core import Env

    from ._algorithm import Policy


@dataclass(frozen=True)
class Evaluation:
    """Returns of whole episodes."""

    returns: np.ndarray[Any, Any]
    """Undiscounted return of each episode, world by world, float64."""
    lengths: np.ndarray[Any, Any]
    """Control steps of each episode, int64."""
    diverged: int
    """Episodes that ended because their world left the finite range; they count with what they had."""
    env_steps: int
    """Control steps taken, summed over worlds."""

    @property
    def return_mean(self) -> float:
        return float(self.returns.mean())

    @property
    def return_std(self) -> float:
        """Standard deviation over episodes."""
        return float(self.returns.std())

    @property
    def length_mean(self) -> float:
        return float(self.lengths.mean())

    def to_json(self) -> dict[str, Any]:
        """The figures under the names that ``diffrl eval --json`` prints."""
        return {
            "return_mean": self.return_mean,
            "return_std": self.return_std,
            "length_mean": self.length_mean,
            "episodes": len(self.returns),
            "diverged": self.diverged,
        }


def evaluate(env: Env, policy: Policy, *, episodes: int, seed: int) -> Evaluation:
    """Run ``policy`` until every world has finished its share of ``episodes``.

    The share of a world is fixed beforehand. Taking the first ``episodes`` to finish anywhere would
    favour short episodes, which are the failures.

    Args:
        env: worlds to use; they are reset with ``seed`` first.
        policy: observations to actions.
        episodes: whole episodes to run, at least 1.
        seed: names the worlds' random numbers.

    Raises:
        ValueError: ``episodes`` is not positive.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; expected at least 1")
    n = env.num_envs
    share = np.full(n, episodes // n) + (np.arange(n) < episodes % n)
    finished: list[tuple[list[float], list[int]]] = [([], []) for _ in range(n)]
    running, length, count = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    diverged = steps = 0
    restart = getattr(policy, "restart", lambda done: None)
    restart(None)
    state, obs = env.reset(seed)
    for _ in range(math.ceil(episodes / n) * env.spec.horizon):
        state, step = env.step(state, policy(obs))
        obs = step.obs
        restart(step.terminated | step.truncated)
        running += _numpy(step.reward)
        length += 1
        steps += n
        done = _numpy(step.terminated) | _numpy(step.truncated)
        if not done.any():
            continue
        left = _numpy(step.diverged)
        for world in np.flatnonzero(done & (count < share)):
            finished[world][0].append(float(running[world]))
            finished[world][1].append(int(length[world]))
            diverged += bool(left[world])
        count += done
        running[done], length[done] = 0.0, 0
        if (count >= share).all():
            break
    returns = [value for world in finished for value in world[0]]
    lengths = [value for world in finished for value in world[1]]
    return Evaluation(np.asarray(returns), np.asarray(lengths, dtype=np.int64), diverged, steps)


def _numpy(array: Any) -> np.ndarray[Any, Any]:
    return array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
