"""``diagnose``: a run's policy or a fresh one, and the worlds of its task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._arrays import carried_arrays
from ._diagnose._verdict import Thresholds
from ._errors import RunError, UsageError, unknown
from ._presets import default_preset
from ._registry import get_algorithm
from ._run import Run
from ._spec import RunSpec, default_task_options
from ._train import Budget
from .torch._account import settings
from .torch._diagnose import Progress, diagnose_policy, unseen
from .torch._observations import flat
from .torch._policy import GaussianActor

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
    path = Path(source)
    is_run = path.is_dir()
    spec = Run.open(path).spec if is_run else _fresh(str(source), task_options or {}, seed)
    if spec.entry.arrays == "jax":
        spec = dataclasses.replace(spec, framework="torch")
    options = {**spec.task_options, **(task_options or {})}
    if is_run and spec.entry.arrays == "torch" and "fused" not in options:
        options |= _usual(spec)
    spec = dataclasses.replace(spec, task_options=options, device=device or spec.device)
    algorithm, state, about = _restored(path, spec, checkpoint) if is_run else _begun(spec)
    actor = algorithm.actor(state.env) if hasattr(algorithm, "actor") else None
    if not isinstance(actor, GaussianActor):
        raise UsageError(
            f"{spec.algorithm} has no Gaussian policy, whose noise the gradients are compared with; diagnose the task "
            f"itself, diffrl diagnose {spec.task}, or a run of another algorithm"
        )
    params, normalize = actor.split(state.actor), state.run.normalizer(spec.config)
    flattens = getattr(algorithm, "flattens", False)
    with settings(spec.config):
        return diagnose_policy(
            lambda count: flat(spec.make_env(count)) if flattens else spec.make_env(count),
            lambda obs: actor(params, normalize(obs)),
            num_envs=num_envs,
            samples=samples,
            steps=steps,
            begin=begin,
            every=every,
            horizon=horizon,
            gamma=spec.config.gamma,
            seed=seed,
            seconds=seconds,
            thresholds=Thresholds(batch=max(2, spec.num_envs)),
            about={"task": spec.task, "task_options": spec.to_json()["task_options"], **about},
            progress=progress,
        )


def _usual(spec: RunSpec) -> dict[str, Any]:
    import diffsim_core

    return default_task_options(spec.entry, diffsim_core.task_options(spec.task), spec.device)


def _fresh(task: str, task_options: Mapping[str, Any], seed: int) -> RunSpec:
    """A run of SHAC on a task, or where its observations are no vector, of SAPO: its policy is as good as any."""
    import diffsim_core

    if not diffsim_core.is_task(task):
        near = unknown("task", task, diffsim_core.list_tasks())
        raise UsageError(f"{task} is no run folder, and no task either: {near}")
    try:
        declared = diffsim_core.task_options(task)
        probe = diffsim_core.make(task, num_envs=1, **task_options)
    except (ValueError, ImportError) as error:
        raise UsageError(str(error)) from None
    if not probe.spec.differentiable:
        raise UsageError(f"{task} has no gradients, so there is nothing to diagnose; train with ppo, sac or td3")
    name = "sapo" if probe.spec.obs_shapes else "shac"
    preset = default_preset(name, task)
    entry = get_algorithm(name)
    return RunSpec(
        algorithm=name,
        task=task,
        config=preset.config,
        num_envs=preset.num_envs,
        budget=Budget(iterations=preset.config.iterations),
        seed=seed,
        task_options={**default_task_options(entry, declared, "cpu"), **preset.task_options},
    )


def _begun(spec: RunSpec) -> tuple[Any, Any, dict[str, Any]]:
    algorithm = spec.build()
    try:
        state = algorithm.template(spec.make_env(1), spec.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return algorithm, state, {"policy": "a fresh policy"}


def _restored(path: Path, spec: RunSpec, checkpoint: str) -> tuple[Any, Any, dict[str, Any]]:
    """The algorithm in torch, with the actor and the statistics of a run in any framework."""
    run = Run.open(path)
    arrays, manifest = run.load(checkpoint)
    algorithm = spec.build()
    if not hasattr(algorithm, "template"):
        raise UsageError(f"{spec.algorithm} has no method template(env, seed), which diagnose needs")
    fresh = algorithm.template(spec.make_env(1), spec.seed)
    try:
        merged = carried_arrays(algorithm.to_arrays(fresh), arrays, same=False)
        state = algorithm.from_arrays(fresh, merged)
    except ValueError as error:
        raise RunError(f"{path}: {error}") from None
    name = f"the policy of {spec.algorithm} after {manifest.iteration:,} updates"
    return algorithm, state, {"policy": name, "algorithm": spec.algorithm, "iteration": manifest.iteration}
