"""Policy learning through differentiable simulators, and the diffrl command.

Importing this package loads no array library. The algorithms are in ``diffrl_algos.torch``.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ._algorithm import Algorithm as Algorithm
from ._algorithm import Policy as Policy
from ._clips import Clips as Clips
from ._configs import AGPOConfig as AGPOConfig
from ._configs import AHACConfig as AHACConfig
from ._configs import APGConfig as APGConfig
from ._configs import GIPPOConfig as GIPPOConfig
from ._configs import LRConfig as LRConfig
from ._configs import LRRPConfig as LRRPConfig
from ._configs import PEConfig as PEConfig
from ._configs import PODSConfig as PODSConfig
from ._configs import PPOConfig as PPOConfig
from ._configs import RPConfig as RPConfig
from ._configs import SACConfig as SACConfig
from ._configs import SAPOConfig as SAPOConfig
from ._configs import SHACConfig as SHACConfig
from ._configs import TD3Config as TD3Config
from ._configs import TrajOptConfig as TrajOptConfig
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
from ._train import Budget as Budget
from ._train import Callback as Callback
from ._train import TrainResult as TrainResult
from ._train import Update as Update
from ._train import train as train

try:
    __version__ = version("diffrl-algos")
except PackageNotFoundError:
    __version__ = "0+unknown"
