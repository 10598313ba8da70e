"""Algorithms by name. An entry holds names only, so that listing them imports no framework."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast

from ._errors import UsageError, unknown

if TYPE_CHECKING:
    from ._algorithm import Algorithm

_GROUP = "diffrl.algorithms"


@dataclass(frozen=True, kw_only=True)
class AlgorithmEntry:
    """Where an algorithm is found."""

    name: str
    algorithm: str
    """``"module:Class"``; called with the configuration it gives an ``Algorithm``."""
    config: str
    """``"module:Class"`` of the configuration, a frozen dataclass; its module should be light."""
    arrays: str
    """Framework of the environments it takes: ``"torch"`` or ``"jax"``."""
    summary: str

    def config_class(self) -> type:
        return cast("type", _load(self.config))

    def build(self, config: Any) -> Algorithm:
        return _load(self.algorithm)(config)


_SUMMARIES = {
    "AGPO": "Adaptive-Gradient Policy Optimization (Gao et al. 2024)",
    "AHAC": "Adaptive Horizon Actor-Critic (Georgiev et al. 2024)",
    "APG": "Analytic policy gradient, backpropagation through time (Freeman et al. 2021)",
    "GIPPO": "Gradient Informed PPO (Son et al. 2023)",
    "LR": "Likelihood-ratio policy gradient, without gradients of the simulator (Son et al. 2023, 7.4.1)",
    "LRRP": "LR and RP mixed by inverse variance (Parmas et al. 2018; Son et al. 2023, 7.4.1)",
    "PE": "Policy enhancement by one simulated step of gradient (Qiao et al. 2021)",
    "PODS": "Policy optimisation via differentiable simulation, first order (Mora et al. 2021)",
    "PPO": "Proximal Policy Optimization, without gradients of the simulator (Schulman et al. 2017)",
    "RP": "Reparameterised policy gradient (Son et al. 2023, 7.4.1)",
    "SAC": "Soft Actor-Critic, without gradients of the simulator (Haarnoja et al. 2018)",
    "SAPO": "Soft Analytic Policy Optimization (Xing et al. 2024)",
    "SHAC": "Short-Horizon Actor-Critic (Xu et al. 2022)",
    "TD3": "Twin Delayed DDPG, without gradients of the simulator (Fujimoto et al. 2018)",
    "TrajOpt": "One open-loop sequence of actions, by gradients (Xing et al. 2024)",
}
_ENTRIES = {
    name.lower(): AlgorithmEntry(
        name=name.lower(),
        algorithm=f"diffrl_algos.torch:{name}",
        config=f"diffrl_algos:{name}Config",
        arrays="torch",
        summary=summary,
    )
    for name, summary in _SUMMARIES.items()
}


def register_algorithm(entry: AlgorithmEntry) -> None:
    """Make an algorithm known by name to ``load_preset``, ``get_algorithm`` and the ``diffrl`` command.

    A package does so once and for all with an entry point of group ``diffrl.algorithms`` that names an
    ``AlgorithmEntry``.

    Raises:
        UsageError: another algorithm has this name.
    """
    if _ENTRIES.get(entry.name, entry) != entry:
        raise UsageError(f"an algorithm named {entry.name!r} exists already; choose another name")
    _ENTRIES[entry.name] = entry


def list_algorithms() -> list[AlgorithmEntry]:
    """Every known algorithm, sorted by name, those of installed packages included."""
    for point in entry_points(group=_GROUP):
        if point.name not in _ENTRIES:
            register_algorithm(point.load())
    return [_ENTRIES[name] for name in sorted(_ENTRIES)]


def get_algorithm(name: str) -> AlgorithmEntry:
    """The algorithm of that name.

    Raises:
        UsageError: there is none; the nearest names are given.
    """
    if name not in _ENTRIES:
        known = {entry.name: entry for entry in list_algorithms()}
        if name not in known:
            raise unknown("algorithm", name, known)
    return _ENTRIES[name]


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
