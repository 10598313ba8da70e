"""Policy learning through differentiable simulators, and the diffrl command.

Importing this package loads no array library, not even NumPy. The algorithms are in ``diffrl_algos.torch``.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._algorithm import Algorithm as Algorithm
    from ._algorithm import Policy as Policy
    from ._bundle import Bundle as Bundle
    from ._clips import Clips as Clips
    from ._config import CriticConfig as CriticConfig
    from ._config import FitConfig as FitConfig
    from ._config import GaussianConfig as GaussianConfig
    from ._config import UpdateConfig as UpdateConfig
    from ._config import WindowConfig as WindowConfig
    from ._diagnose._diagnosis import Diagnosis as Diagnosis
    from ._diagnosed import diagnose as diagnose
    from ._errors import CheckpointError as CheckpointError
    from ._errors import RunError as RunError
    from ._errors import UsageError as UsageError
    from ._evaluate import Evaluation as Evaluation
    from ._evaluate import Evaluator as Evaluator
    from ._evaluate import Recording as Recording
    from ._evaluate import evaluate as evaluate
    from ._export import export_run as export_run
    from ._loggers import TensorBoardLog as TensorBoardLog
    from ._loggers import WandbLog as WandbLog
    from ._presets import Preset as Preset
    from ._presets import default_preset as default_preset
    from ._presets import list_presets as list_presets
    from ._presets import list_readings as list_readings
    from ._presets import load_preset as load_preset
    from ._registry import AlgorithmEntry as AlgorithmEntry
    from ._registry import get_algorithm as get_algorithm
    from ._registry import list_algorithms as list_algorithms
    from ._registry import register_algorithm as register_algorithm
    from ._start import load_policy as load_policy
    from ._train import Budget as Budget
    from ._train import Callback as Callback
    from ._train import TrainResult as TrainResult
    from ._train import Update as Update
    from ._train import train as train

try:
    __version__ = version("diffrl-algos")
except PackageNotFoundError:
    __version__ = "0+unknown"


_LAZY = {
    "Algorithm": "_algorithm",
    "AlgorithmEntry": "_registry",
    "Budget": "_train",
    "Bundle": "_bundle",
    "Callback": "_train",
    "CheckpointError": "_errors",
    "Clips": "_clips",
    "CriticConfig": "_config",
    "Diagnosis": "_diagnose._diagnosis",
    "Evaluation": "_evaluate",
    "Evaluator": "_evaluate",
    "FitConfig": "_config",
    "GaussianConfig": "_config",
    "Policy": "_algorithm",
    "Preset": "_presets",
    "Recording": "_evaluate",
    "RunError": "_errors",
    "TensorBoardLog": "_loggers",
    "TrainResult": "_train",
    "Update": "_train",
    "UpdateConfig": "_config",
    "UsageError": "_errors",
    "WandbLog": "_loggers",
    "WindowConfig": "_config",
    "default_preset": "_presets",
    "diagnose": "_diagnosed",
    "evaluate": "_evaluate",
    "export_run": "_export",
    "get_algorithm": "_registry",
    "list_algorithms": "_registry",
    "list_presets": "_presets",
    "list_readings": "_presets",
    "load_policy": "_start",
    "load_preset": "_presets",
    "register_algorithm": "_registry",
    "train": "_train",
}
"""Where each public name is; it is imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    # A configuration is in its algorithm's file, which imports torch. It is imported when it is first asked for.
    if name.endswith("Config") and not name.startswith("_"):
        from . import torch

        if hasattr(torch, name):
            return getattr(torch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
