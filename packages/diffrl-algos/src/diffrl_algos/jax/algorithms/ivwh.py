"""Inverse-variance weighting of every control step (Onoda et al. 2026)

The form in JAX of ``torch/algorithms/ivwh.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..._configs.ivwh import IVWHConfig
from .._per_step import PerStepLearner


@dataclass(frozen=True)
class IVWH(PerStepLearner[IVWHConfig]):
    """IVW-H.

    Each update rolls the stochastic policy out for ``horizon`` steps. For each step and world it takes the gradient of
    SHAC's objective by the mean and deviation of the action, and the likelihood-ratio gradient with generalised
    advantages; it mixes the two by their inverse variances over the worlds of the step
    (``gradest.per_step_mixture``), and takes one Adam step along the mixtures. It fits the critic to TD(lambda) targets
    and moves the target critic towards it. An update that is not finite changes no parameter; it is counted.
    """

    config: IVWHConfig = field(default_factory=IVWHConfig)
    name: ClassVar[str] = "ivwh"


ALGORITHM = IVWH
