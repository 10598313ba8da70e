"""Discontinuity-detecting composite gradient (Onoda et al. 2026)

IVW-H's mixture in the control steps that look continuous, the likelihood-ratio gradient in the others. Onoda, Parmas,
Yaguchi & Matsuo, Does "Do Differentiable Simulators Give Better Policy Gradients?" Give Better Policy Gradients?, ICLR
2026 (arXiv:2604.18161): Part I, read for a policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

import gradest

from ..._configs.ddcg import DDCGConfig
from .._on_policy import Advantages, OnPolicyState
from .._per_step import PerStepLearner, Samples
from .._window import Window


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

    @property
    def trials(self) -> int:
        return int(self._compares)

    @property
    def _compares(self) -> bool:
        return self.config.scope == "window" and self.config.fixed_weight is None

    def samples(self, window: Window, values: Advantages, state: OnPolicyState) -> Samples:
        samples = super().samples(window, values, state)
        if not self._compares:
            return samples
        # Worlds start in states of their own. What these earn without noise is no effect of the noise.
        with torch.no_grad():
            generator = torch.Generator()  # of which nothing is drawn
            _, normalize, calm = self.explore(state, generator, eps=torch.zeros_like(window.eps))
            baseline = self.residual(calm, self.advantages(state, calm, normalize))
        return samples._replace(residual=samples.residual - baseline)

    def trusted(self, by_noise: Tensor, samples: Samples, valid: Tensor) -> Tensor | None:
        c = self.config
        options: dict[str, Any] = {"slack": c.slack, "order": c.test}
        if c.scope == "step":
            return gradest.smoothness_test(by_noise, samples.residual, valid, **options).smooth
        # A window's value is the sum of its weighted one-step advantages, and depends on all noise in it.
        whole = by_noise.transpose(0, 1).flatten(1)
        test = gradest.smoothness_test(whole, samples.residual.sum(0), valid.all(0), **options)
        return test.smooth.expand(len(by_noise))


ALGORITHM = DDCG
