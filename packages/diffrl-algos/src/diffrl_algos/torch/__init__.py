"""Algorithms in PyTorch."""

from __future__ import annotations

from ._agpo import AGPO as AGPO
from ._agpo import AGPOState as AGPOState
from ._ahac import AHAC as AHAC
from ._ahac import AHACState as AHACState
from ._apg import APG as APG
from ._apg import APGState as APGState
from ._gippo import GIPPO as GIPPO
from ._gippo import GIPPOState as GIPPOState
from ._lr import LR as LR
from ._lrrp import LRRP as LRRP
from ._pe import PE as PE
from ._pods import PODS as PODS
from ._pods import PODSState as PODSState
from ._policy_gradient import PolicyGradientState as PolicyGradientState
from ._ppo import PPO as PPO
from ._ppo import PPOState as PPOState
from ._rp import RP as RP
from ._sac import SAC as SAC
from ._sac import SACState as SACState
from ._sapo import SAPO as SAPO
from ._sapo import SAPOState as SAPOState
from ._shac import SHAC as SHAC
from ._shac import SHACState as SHACState
from ._state import from_arrays as from_arrays
from ._state import to_arrays as to_arrays
from ._td3 import TD3 as TD3
from ._td3 import TD3State as TD3State
from ._trajopt import TrajOpt as TrajOpt
from ._trajopt import TrajOptState as TrajOptState
