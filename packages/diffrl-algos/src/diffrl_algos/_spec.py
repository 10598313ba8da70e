"""The description of a run: algorithm, task, configuration, seed, device, budget."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from annotated_types import Unit

from diffsim_core.options import Count, Finite, Index, NotNegative, Options, from_json, to_json

from . import _processes
from ._bundle import Bundle
from ._config import OF_OLDER_RUNS
from ._errors import UsageError
from ._fields import checked, field_types, from_mapping, to_mapping
from ._registry import AlgorithmEntry, get_algorithm
from ._train import Budget

if TYPE_CHECKING:
    from diffsim_core import Env


_OF_BUNDLE = ("bundle_steps", "bundle_position", "bundle_velocity", "bundle_force")
OPTIONAL = ("eval_every", "stop_at_return", "tensorboard", "wandb", "start", "framework", "bundle", *_OF_BUNDLE)
"""Fields that a description leaves out if they are not used. So runs from before they existed can be resumed."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a run begins: with what another run has learned."""

    run: str
    """Folder of the other run. It is needed until the new run has its first checkpoint."""
    checkpoint: str
    """Name of the checkpoint."""
    sha256: str
    """Of its arrays."""
    whole: bool
    """Whether everything goes on, counters and worlds included, as that run with a larger budget; or whether a new run
    begins with the policy."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """All settings that determine a run. The options of ``diffrl train`` are made from the fields with a default."""

    title: ClassVar[str] = "the run"

    algorithm: str
    task: str
    config: Any
    num_envs: Count
    """Worlds in parallel."""
    budget: Budget
    seed: Index = 0
    """Names all random numbers of the run."""
    device: str = "cpu"
    """``cpu``, ``cuda`` or ``cuda:i``."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task, in JSON's types and infinite numbers."""
    eval_episodes: Count = 128
    """Episodes of an evaluation."""
    checkpoint_every: Count = 50
    """Updates between checkpoints."""
    keep_checkpoints: Count = 3
    """Checkpoints kept in addition to the best."""
    eval_every: Count | None = None
    """Updates between evaluations during training; none: only at the end."""
    stop_at_return: Finite | None = None
    """Mean return at which the run is complete: of evaluations if there are any, else of training episodes."""
    tensorboard: bool = False
    """Write event files for TensorBoard, into the folder ``tensorboard`` of the run."""
    wandb: str | None = None
    """Project of Weights & Biases to log to."""
    start: Start | None = None
    """The checkpoint of another run that this one begins with."""
    framework: Literal["torch", "jax"] | None = None
    """``torch`` or ``jax``: what the algorithm computes with; none: what it was written for."""
    bundle: Count | None = None
    """Perturbed branches of a world in heavy contact, over which its states, rewards and gradients are averaged in
    training; none: no branches."""
    bundle_steps: Count | None = None
    """Control steps that the branches of a bundle take; none: 2."""
    bundle_position: Annotated[NotNegative, Unit("m")] | None = None
    """Standard deviation of a branch's displacement at the contact point, along each axis; none: 0.01."""
    bundle_velocity: Annotated[NotNegative, Unit("m/s")] | None = None
    """The same of its velocity; none: 0.02."""
    bundle_force: NotNegative | None = None
    """Normal force of the ground on one link, in weights of the robot, above which contact is heavy; none: 0.6."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "task_options", from_json(_described(self.task_options)))
        for name, value in checked(RunSpec, vars(self)).items():
            object.__setattr__(self, name, value)
        if self.wandb is not None and not self.wandb:
            raise UsageError("wandb is ''; expected the name of a project")
        if not re.fullmatch(r"cpu|cuda(:\d{1,4})?", self.device, flags=re.ASCII):
            raise UsageError(f"device is {self.device!r}; expected cpu, cuda or cuda:i")
        if self.bundle is None and (given := [name for name in _OF_BUNDLE if getattr(self, name) is not None]):
            raise UsageError(f"{given[0]} is of bundles, and there are none; give bundle, the number of branches, too")
        # The types that a file gives back (0 for a float becomes 0.0), so that equality survives saving.
        object.__setattr__(self, "config", from_mapping(type(self.config), to_mapping(self.config)))

    def to_json(self) -> dict[str, Any]:
        """The run as a JSON object; ``from_json`` is the inverse. Infinite numbers are kept."""
        unused = {key for key in OPTIONAL if getattr(self, key) is None or getattr(self, key) is False}
        converted = {"config", "budget", "task_options"}
        return {
            **{key: value for key, value in vars(self).items() if key not in converted | unused},
            "task_options": _described(self.task_options),
            "budget": {key: to_json(value) for key, value in vars(self.budget).items() if value is not None},
            "config": to_mapping(self.config),
            **({"start": vars(self.start)} if self.start is not None else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSpec:
        """Raises ``UsageError`` or ``TypeError`` if the values do not describe a run."""
        kind = get_algorithm(values["algorithm"], values.get("framework")).config_class()
        older = {name: value for name, value in OF_OLDER_RUNS.items() if name in field_types(kind)}
        config = from_mapping(kind, {**older, **values["config"]})
        budget = from_mapping(Budget, values["budget"])
        start = {"start": Start(**values["start"])} if values.get("start") is not None else {}
        options = from_json(values["task_options"])
        return cls(**{**values, "config": config, "budget": budget, "task_options": options, **start})

    def build(self) -> Any:
        """The algorithm with its configuration."""
        return self.entry.build(self.config)

    @property
    def entry(self) -> AlgorithmEntry:
        """The algorithm in the framework of the run."""
        return get_algorithm(self.algorithm, self.framework)

    def make_env(self, num_envs: int | None = None) -> Env:
        """The task with ``num_envs`` worlds; by default the worlds to learn in, this process's share of the run's.

        Only the worlds to learn in have bundles.

        Raises:
            UsageError: the task, one of its options or the device does not exist, it needs a missing extra, or it has
                no contacts to bundle.
        """
        import diffsim_core

        arrays = self.entry.arrays
        device = _processes.device(self.device)
        if arrays == "torch" and device != "cpu":
            _require_cuda(device)
        count, first = _processes.share(self.num_envs) if num_envs is None else (num_envs, 0)
        try:
            env = diffsim_core.make(
                self.task, num_envs=count, world_offset=first, arrays=arrays, device=device, **self.task_options
            )
            return env if num_envs is not None or self.bundle is None else self._bundled(env)
        except (ValueError, ImportError) as error:
            raise UsageError(str(error)) from None

    def _bundled(self, env: Any) -> Env:
        if self.entry.arrays != "torch":
            raise ValueError(f"--bundle needs torch, and {self.algorithm} computes with {self.entry.arrays} here")
        given = {name.removeprefix("bundle_"): getattr(self, name) for name in _OF_BUNDLE}
        options = {name: value for name, value in given.items() if value is not None}
        wrapped = importlib.import_module(".torch", __package__).BundledEnv  # it sees this module
        return cast("Env", wrapped(env, Bundle(**{"branches": self.bundle, **options})))


def default_task_options(entry: AlgorithmEntry, declared: Options, device: str) -> dict[str, Any]:
    """Options of a task that a new run has unless it says otherwise: fused steps, where torch learns on a CPU.

    ``declared`` is what the task declares, see ``diffsim_core.task_options``.
    """
    fused = entry.arrays == "torch" and device == "cpu"
    return {"fused": True} if fused and "fused" in declared.known else {}


def _described(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task as JSON holds them; ``UsageError`` names one that it cannot hold."""
    found = {}
    if not isinstance(options, Mapping):
        raise UsageError(f"task_options is {options!r}; expected a table of values by name")
    for name, value in options.items():
        try:
            found[name] = to_json(value)
        except ValueError as error:
            raise UsageError(f"task option {name}: {error}") from None
    return found


def _require_cuda(device: str) -> None:
    import torch

    index = device.partition(":")[2]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count <= (int(index) if index.isdigit() else 0):
        raise UsageError(
            f"device is {device!r}, but torch sees {count} CUDA devices; use --device cpu or another index"
        )
