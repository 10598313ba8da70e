"""Gymnasium's spaces of an environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from diffsim_core._protocol import EnvSpec


def spaces_of(spec: EnvSpec, dtype: Any = np.float32) -> tuple[Box, Box]:
    """Spaces of the observation (unbounded) and of the action (from -1 to 1) of one world."""
    observation = Box(-np.inf, np.inf, (spec.num_obs,), dtype)
    return observation, Box(-1.0, 1.0, (spec.num_actions,), np.float32)
