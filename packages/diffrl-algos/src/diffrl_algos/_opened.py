"""A Gaussian policy to look at: that of a run folder, or a fresh one for a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._arrays import carried_arrays
from ._errors import RunError, UsageError, unknown
from ._presets import default_preset
from ._registry import get_algorithm
from ._run import Run
from ._spec import RunSpec, default_task_options
from ._train import Budget
from .torch._normalize import Normalizer
from .torch._observations import flat
from .torch._policy import GaussianActor

if TYPE_CHECKING:
    from torch import Tensor

    from diffsim_core import Env


@dataclass(frozen=True)
class Opened:
    """A policy in torch and the task that it is for."""

    spec: RunSpec
    """The run; of a fresh policy, one of SHAC or SAPO that never began."""
    actor: GaussianActor
    parameters: Tensor
    """Flat parameters of the actor, ``[P]``."""
    normalize: Normalizer
    about: dict[str, Any]
    """What the policy is, for a report."""
    flattens: bool
    """Whether it sees a mapping of observations as one vector."""

    def make_env(self, num_envs: int) -> Env:
        """New worlds of the task, as the policy sees them."""
        env = self.spec.make_env(num_envs)
        return flat(env) if self.flattens else env


def open_policy(
    source: str | Path,
    *,
    checkpoint: str = "last",
    task_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Opened:
    """The policy of a run folder, or a fresh policy for a task.

    Args:
        source: a run folder, or the name of a task.
        checkpoint: of a run: ``last``, ``best`` or an iteration.
        task_options: options of the task; of a run, those that are to differ from it.
        seed: names a fresh policy.
        device: ``cpu``, ``cuda`` or ``cuda:i``; by default the run's, or the CPU.

    Raises:
        RunError: the run folder cannot be read, or has no checkpoint.
        UsageError: there is no such task, it has no gradients, or the policy is not Gaussian.
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
            f"{spec.algorithm} has no Gaussian policy, whose noise the gradients are compared with; give the task "
            f"itself, {spec.task}, or a run of another algorithm"
        )
    about = {"task": spec.task, "task_options": spec.to_json()["task_options"], **about}
    flattens = getattr(algorithm, "flattens", False)
    return Opened(spec, actor, state.actor, state.run.normalizer(spec.config), about, flattens)


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
