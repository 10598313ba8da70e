"""Algorithms in JAX, and what one of your own is built from; configurations are those of torch."""

from __future__ import annotations

from ._learner import ActorLearner as ActorLearner
from ._learner import CriticLearner as CriticLearner
from ._learner import Learned as Learned
from ._learner import Learner as Learner
from ._state import State as State
from ._state import Worlds as Worlds
from ._window import Window as Window
from ._window import explore as explore
from .algorithms.agpo import AGPO as AGPO
from .algorithms.aobg import AOBG as AOBG
from .algorithms.apg import APG as APG
from .algorithms.ddcg import DDCG as DDCG
from .algorithms.ivwh import IVWH as IVWH
from .algorithms.ppo import PPO as PPO
from .algorithms.rpo import RPO as RPO
from .algorithms.sapo import SAPO as SAPO
from .algorithms.shac import SHAC as SHAC
