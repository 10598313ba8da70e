"""Hyper-parameters of the algorithms, shared by every framework. Nothing here imports torch or JAX."""

from __future__ import annotations

from ._agpo import AGPOConfig as AGPOConfig
from ._ahac import AHACConfig as AHACConfig
from ._apg import APGConfig as APGConfig
from ._off_policy import OffPolicyConfig as OffPolicyConfig
from ._off_policy import SACConfig as SACConfig
from ._off_policy import TD3Config as TD3Config
from ._on_policy import GIPPOConfig as GIPPOConfig
from ._on_policy import LRConfig as LRConfig
from ._on_policy import LRRPConfig as LRRPConfig
from ._on_policy import OnPolicyConfig as OnPolicyConfig
from ._on_policy import PEConfig as PEConfig
from ._on_policy import RPConfig as RPConfig
from ._pods import PODSConfig as PODSConfig
from ._ppo import PPOConfig as PPOConfig
from ._sapo import SAPOConfig as SAPOConfig
from ._shac import SHACConfig as SHACConfig
from ._trajopt import TrajOptConfig as TrajOptConfig
from ._window import CriticConfig as CriticConfig
from ._window import UpdateConfig as UpdateConfig
from ._window import WindowConfig as WindowConfig
