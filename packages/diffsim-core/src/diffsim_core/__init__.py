"""Differentiable simulators for learning: the shared protocol, the rigid-body engine and its tasks.

Importing this package loads neither an array library nor a simulator. Each of those loads when a name first needs it.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from diffsim_core._protocol import ArraySpec as ArraySpec
from diffsim_core._protocol import Dynamics as Dynamics
from diffsim_core._protocol import Env as Env
from diffsim_core._protocol import EnvSpec as EnvSpec
from diffsim_core._protocol import EnvState as EnvState
from diffsim_core._protocol import Random as Random
from diffsim_core._protocol import Task as Task
from diffsim_core._protocol import TaskError as TaskError
from diffsim_core._protocol import Trajectory as Trajectory
from diffsim_core._protocol import Transition as Transition
from diffsim_core._registry import is_task as is_task
from diffsim_core._registry import list_tasks as list_tasks
from diffsim_core._registry import make as make
from diffsim_core._registry import register_task as register_task
from diffsim_core._registry import task_family as task_family
from diffsim_core._registry import task_options as task_options
from diffsim_core._remade import Remade as Remade

if TYPE_CHECKING:
    from diffsim_core._buffer import Buffer as Buffer
    from diffsim_core._divergence import Divergence as Divergence
    from diffsim_core._divergence import collect_divergences as collect_divergences
    from diffsim_core._divergence import load_divergences as load_divergences
    from diffsim_core._divergence import replay as replay
    from diffsim_core._divergence import save_divergences as save_divergences
    from diffsim_core._env import TaskEnv as TaskEnv
    from diffsim_core._interop import differentiable as differentiable
    from diffsim_core._interop import from_numpy as from_numpy
    from diffsim_core._interop import stop_gradient as stop_gradient
    from diffsim_core._interop import to_numpy as to_numpy
    from diffsim_core._jax_compiled import compiling as compiling
    from diffsim_core._memory import free_bytes as free_bytes
    from diffsim_core._memory import kept_bytes as kept_bytes
    from diffsim_core._memory import require_memory as require_memory
    from diffsim_core._random import EpisodeRandom as EpisodeRandom
    from diffsim_core._rollout import rollout as rollout
    from diffsim_core._task_watch import watch_task as watch_task
    from diffsim_core._tree import tree_map as tree_map

try:
    __version__ = version("diffsim-core")
except PackageNotFoundError:
    __version__ = "0+unknown"

_LAZY = {
    "Buffer": "_buffer",
    "Divergence": "_divergence",
    "EpisodeRandom": "_random",
    "TaskEnv": "_env",
    "collect_divergences": "_divergence",
    "compiling": "_jax_compiled",
    "differentiable": "_interop",
    "free_bytes": "_memory",
    "from_numpy": "_interop",
    "kept_bytes": "_memory",
    "load_divergences": "_divergence",
    "replay": "_divergence",
    "require_memory": "_memory",
    "rollout": "_rollout",
    "save_divergences": "_divergence",
    "stop_gradient": "_interop",
    "to_numpy": "_interop",
    "tree_map": "_tree",
    "watch_task": "_task_watch",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffsim_core.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
