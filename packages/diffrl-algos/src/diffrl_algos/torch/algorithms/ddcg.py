"""Discontinuity-detecting composite gradient (Onoda et al. 2026)

IVW-H's mixture in the control steps that look continuous, the likelihood-ratio gradient in the others. Onoda, Parmas,
Yaguchi & Matsuo, Does "Do Differentiable Simulators Give Better Policy Gradients?" Give Better Policy Gradients?, ICLR
2026 (arXiv:2604.18161): Part I, read for a policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..._configs.ddcg import DDCGConfig
from .._per_step import PerStepLearner


@dataclass(frozen=True)
class DDCG(PerStepLearner[DDCGConfig]):
    """DDCG in every control step.

    An update is that of IVW-H, except in windows or steps where the gradients vary too little to explain how the values
    of the worlds vary (``gradest.smoothness_test``). The simulator jumps there, and they take the likelihood-ratio
    gradient alone. ``scope`` says which values: those of whole windows, less what the same worlds earn without noise,
    which takes a second roll-out that ``env_steps`` contains; or one-step advantages.
    """

    config: DDCGConfig = field(default_factory=DDCGConfig)
    name: ClassVar[str] = "ddcg"


ALGORITHM = DDCG
