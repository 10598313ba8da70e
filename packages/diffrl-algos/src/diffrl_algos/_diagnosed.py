"""``diagnose``: a run's policy or a fresh one, and the worlds of its task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._diagnose._verdict import Thresholds
from ._opened import open_policy
from .torch._account import settings
from .torch._diagnose import Progress, diagnose_policy, unseen

if TYPE_CHECKING:
    from ._diagnose._diagnosis import Diagnosis


def diagnose(
    source: str | Path,
    *,
    checkpoint: str = "last",
    task_options: Mapping[str, Any] | None = None,
    num_envs: int = 8,
    samples: int = 16,
    steps: int = 32,
    begin: int | None = None,
    every: int | None = None,
    horizon: int = 32,
    seed: int = 0,
    seconds: float | None = None,
    device: str | None = None,
    progress: Progress = unseen,
) -> Diagnosis:
    """Say on which steps of a task first-order gradients are noisy, biased or lost, and what to train with.

    ``diffrl_algos.torch.diagnose_policy`` says how, and what the numbers mean.

    Args:
        source: a run folder, whose policy is diagnosed; or the name of a task, with a policy as it is before training.
        checkpoint: of a run: ``last``, ``best`` or an iteration.
        task_options: options of the task; of a run, those that are to differ from it.
        num_envs: states at each step.
        samples: roll-outs from each state, an even number of at least 4.
        steps: steps that are examined.
        begin: the first of them; by default 100, or 0 where the steps can cover the episode.
        every: control steps from one to the next; by default 1, or so that the episode is covered.
        horizon: longest lookahead [control steps].
        seed: names the worlds, the noise and a fresh policy.
        seconds: wall time after which no further step is begun.
        device: ``cpu``, ``cuda`` or ``cuda:i``; by default the run's, or the CPU.
        progress: told what is done.

    Raises:
        RunError: the run folder cannot be read, or has no checkpoint.
        UsageError: there is no such task, it has no gradients, the policy is not Gaussian, or a number is out of its
            range.
    """
    opened = open_policy(source, checkpoint=checkpoint, task_options=task_options, seed=seed, device=device)
    actor, config, params = opened.actor, opened.spec.config, opened.actor.split(opened.parameters)
    with settings(config):
        return diagnose_policy(
            opened.make_env,
            lambda obs: actor(params, opened.normalize(obs)),
            num_envs=num_envs,
            samples=samples,
            steps=steps,
            begin=begin,
            every=every,
            horizon=horizon,
            gamma=config.gamma,
            seed=seed,
            seconds=seconds,
            thresholds=Thresholds(batch=max(2, opened.spec.num_envs)),
            about=opened.about,
            progress=progress,
        )
