"""The description of a run: algorithm, task, configuration, seed, device, budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _processes
from ._errors import UsageError
from ._fields import from_mapping, to_mapping
from ._files import plain
from ._registry import get_algorithm
from ._train import Budget

if TYPE_CHECKING:
    from diffsim_core import Env


OPTIONAL = ("eval_every", "stop_at_return", "tensorboard", "wandb", "start")
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
    """All settings that determine a run."""

    algorithm: str
    task: str
    config: Any
    num_envs: int
    budget: Budget
    seed: int = 0
    device: str = "cpu"
    task_options: Mapping[str, Any]
    eval_episodes: int = 128
    checkpoint_every: int = 50
    """Updates between checkpoints."""
    keep_checkpoints: int = 3
    """Checkpoints kept in addition to the best."""
    eval_every: int | None = None
    """Updates between evaluations during training; None for none."""
    stop_at_return: float | None = None
    """Mean return at which the run is complete: of evaluations if there are any, else of training episodes."""
    tensorboard: bool = False
    """Write event files for TensorBoard."""
    wandb: str | None = None
    """Project of Weights & Biases to log to; None for none."""
    start: Start | None = None
    """The checkpoint of another run that this one begins with; None for a beginning from nothing."""

    def __post_init__(self) -> None:
        for name in ("num_envs", "eval_episodes", "checkpoint_every", "keep_checkpoints"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UsageError(f"{name} is {value!r}; expected an integer of at least 1")
        if self.eval_every is not None and (type(self.eval_every) is not int or self.eval_every < 1):
            raise UsageError(f"eval_every is {self.eval_every!r}; expected an integer of at least 1")
        target = self.stop_at_return
        if target is not None and (isinstance(target, bool) or not math.isfinite(target)):
            raise UsageError(f"stop_at_return is {target!r}; expected a finite number")
        if self.wandb is not None and not self.wandb:
            raise UsageError("wandb is ''; expected the name of a project")
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise UsageError(f"seed is {self.seed!r}; expected an integer from 0 to {2**31 - 1}")
        if self.device != "cpu" and self.device.partition(":")[0] != "cuda":
            raise UsageError(f"device is {self.device!r}; expected cpu, cuda or cuda:i")
        # The types that a file gives back (0 for a float becomes 0.0), so that equality survives saving.
        object.__setattr__(self, "config", from_mapping(type(self.config), to_mapping(self.config)))

    def to_json(self) -> dict[str, Any]:
        """The run as a JSON object; ``from_json`` is the inverse."""
        unused = {key for key in OPTIONAL if getattr(self, key) is None or getattr(self, key) is False}
        converted = {"config", "budget", "task_options"}
        return plain(
            {
                **{key: value for key, value in vars(self).items() if key not in converted | unused},
                "task_options": dict(self.task_options),
                "budget": {key: value for key, value in vars(self.budget).items() if value is not None},
                "config": to_mapping(self.config),
                **({"start": vars(self.start)} if self.start is not None else {}),
            }
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSpec:
        """Raises ``UsageError`` or ``TypeError`` if the values do not describe a run."""
        config = from_mapping(get_algorithm(values["algorithm"]).config_class(), values["config"])
        if not isinstance(values["task"], str) or not isinstance(values["device"], str):
            raise UsageError("task and device must be names")
        start = {"start": Start(**values["start"])} if values.get("start") is not None else {}
        return cls(**{**values, "config": config, "budget": Budget(**values["budget"]), **start})

    def make_env(self, num_envs: int | None = None) -> Env:
        """The task with ``num_envs`` worlds, by default this process's share of the run's worlds.

        Raises:
            UsageError: the task, one of its options or the device does not exist, or it needs a missing extra.
        """
        import diffsim_core

        arrays = get_algorithm(self.algorithm).arrays
        device = _processes.device(self.device)
        if arrays == "torch" and device != "cpu":
            _require_cuda(device)
        count, first = _processes.share(self.num_envs) if num_envs is None else (num_envs, 0)
        try:
            return diffsim_core.make(
                self.task, num_envs=count, world_offset=first, arrays=arrays, device=device, **self.task_options
            )
        except (ValueError, ImportError) as error:
            raise UsageError(str(error)) from None


def _require_cuda(device: str) -> None:
    import torch

    index = device.partition(":")[2]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count <= (int(index) if index.isdigit() else 0):
        raise UsageError(
            f"device is {device!r}, but torch sees {count} CUDA devices; use --device cpu or another index"
        )
