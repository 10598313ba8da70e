"""Small configurations and worlds shared by the tests."""

from __future__ import annotations

import pytest

import diffsim_core
from diffrl_algos import SHACConfig

from . import beacon as beacon
from . import toy as toy


@pytest.fixture
def small() -> SHACConfig:
    """A configuration whose updates take a few milliseconds."""
    return SHACConfig(
        iterations=10,
        horizon=8,
        actor_hidden=(16, 8),
        critic_hidden=(16,),
        critic_iterations=2,
        critic_minibatches=4,
        critic_shuffle=False,
        target_alpha=0.3,
    )


@pytest.fixture
def worlds():
    """Worlds with terminations, time limits and several episodes in a window of 8 steps."""

    def make(num_envs=6, dtype="float32", **options):
        return diffsim_core.make("toy", num_envs=num_envs, dtype=dtype, **{"limit": 0.9, "horizon": 5, **options})

    return make
