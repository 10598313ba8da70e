"""Algorithms in JAX; their configurations are those of torch."""

from __future__ import annotations

from .algorithms.agpo import AGPO as AGPO
from .algorithms.apg import APG as APG
from .algorithms.ppo import PPO as PPO
from .algorithms.sapo import SAPO as SAPO
from .algorithms.shac import SHAC as SHAC
