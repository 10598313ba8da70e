"""How papers spell the names of algorithms, for figures."""

from __future__ import annotations

_SPELT = {"gippo": "GI-PPO", "aobg": "AoBG", "ivwh": "IVW-H", "lrrp": "LR+RP", "trajopt": "trajectory optimisation"}


def title_of(algorithm: str) -> str:
    """``GI-PPO`` for ``gippo``; capitals where that is all there is to it."""
    return _SPELT.get(algorithm, algorithm.upper())
