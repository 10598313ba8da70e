"""The conformance kit of algorithms finds every broken promise, and says what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from diffrl_algos import SHACConfig, get_algorithm
from diffrl_algos.check import CheckError, check_algorithm
from diffrl_algos.torch import SHAC, TargetState


class Broken:
    """SHAC with one method spoilt."""

    name = "broken"

    def __init__(self, config: SHACConfig, **spoilt: Any) -> None:
        self.inner, self.config, self.spoilt = SHAC(config), config, spoilt

    def __getattr__(self, method: str) -> Any:
        right = getattr(self.inner, method)
        change = self.spoilt.get(method)
        return right if change is None else lambda *args, **options: change(right, *args, **options)


def after(change):
    """``update`` whose results are changed."""

    def update(right, state):
        new, metrics = right(state)
        return change(state, new, dict(metrics))

    return update


def in_place(right, state):
    state.actor.mul_(0.99)
    return right(state)


def forgets_the_generator(right, state, arrays):
    found = right(state, arrays)
    return found.replace(run=found.run._replace(rng=state.run.rng))


def from_nothing(right, state, arrays):
    return right(state, arrays) if arrays else state


def silent_about_names(right, state, arrays):
    try:
        return right(state, arrays)
    except ValueError:
        raise ValueError("no") from None


def takes_nan(right, state):
    new, metrics = right(state)
    if metrics["refused_updates"]:
        new = new.replace(actor=new.actor * torch.nan)
    return new, metrics


def stops(right, state):
    new, metrics = right(state)
    if metrics["refused_updates"]:
        raise RuntimeError("not finite")
    return new, metrics


def unseeded(right, env, seed):
    state = right(env, seed)
    return state.replace(actor=state.actor + 1e-3 * torch.randn_like(state.actor))


def unseeded_update(right, state):
    new, metrics = right(state)
    return new.replace(actor=new.actor + 1e-3 * torch.randn_like(new.actor)), metrics


def keeps_the_graph(right, state):
    new, metrics = right(state)
    return new.replace(actor=new.actor * torch.ones((), requires_grad=True)), metrics


@dataclass(frozen=True)
class RateState(TargetState):
    """A state with a number that ``to_arrays`` does not save."""

    rate: float = 0.5


def starts_with_a_rate(right, env, seed):
    return RateState(**vars(right(env, seed)))


def changes_the_rate(right, state):
    new, metrics = right(state)
    return new.replace(rate=0.5 * state.rate, actor=new.actor * (1.0 + state.rate)), metrics


CASES = {
    "iteration is 2 after 1 updates": {
        "update": after(lambda s, n, m: (n.replace(run=n.run._replace(iteration=n.iteration + 1)), m))
    },
    "env_steps stays at": {"update": after(lambda s, n, m: (n.replace(run=n.run._replace(env_steps=s.env_steps)), m))},
    "metrics have no return_mean": {"update": after(lambda s, n, m: (n, {k: m[k] for k in m if k != "return_mean"}))},
    "metrics.extra is of type Tensor": {"update": after(lambda s, n, m: (n, {**m, "extra": torch.zeros(())}))},
    "metrics.extra is nan": {"update": after(lambda s, n, m: (n, {**m, "extra": float("nan")}))},
    "same seed gives different bits in actor.* and [0-9]+ more; draw all random numbers from": {"init": unseeded},
    "two updates of one state give different bits in actor; draw all random numbers": {"update": unseeded_update},
    "the state keeps the graph of its update in actor": {"update": keeps_the_graph},
    "different bits in actor.*state.rate is of type float, which is in no array": {
        "init": starts_with_a_rate,
        "update": changes_the_rate,
    },
    "seeds 0 and 1 give the same run": {"init": lambda right, env, seed: right(env, 0)},
    "from_arrays does not restore run.rng": {"from_arrays": forgets_the_generator},
    "with dtype <U3; a checkpoint holds numbers": {
        "to_arrays": lambda right, state: {**right(state), "who": np.asarray("one")},
        "from_arrays": lambda right, state, arrays: right(state, {k: v for k, v in arrays.items() if k != "who"}),
    },
    "update changes actor of the state it was given": {"update": in_place},
    "from_arrays accepts no arrays at all": {"from_arrays": from_nothing},
    "raises an error that names no array: no": {"from_arrays": silent_about_names},
    "gives actions outside": {"policy": lambda right, state, **o: lambda obs: 2 + 0 * right(state, **o)(obs)},
    r"gives actions of shape \(6, 1, 1\)": {
        "policy": lambda right, state, **o: lambda obs: right(state, **o)(obs)[..., None]
    },
    "made twice with one seed": {
        "policy": lambda right, state, **o: lambda obs: torch.tanh(torch.randn_like(right(state, **o)(obs)))
    },
    "actions are not finite": {"update": takes_nan},
    "ends in RuntimeError: not finite": {"update": stops},
}


@pytest.mark.parametrize(("message", "spoilt"), CASES.items(), ids=CASES)
def test_a_broken_algorithm_is_found(worlds, small, message, spoilt):
    with pytest.raises(CheckError, match=message) as caught:
        check_algorithm(Broken(small, **spoilt), worlds, updates=1)
    assert caught.value.violations and "'broken' breaks" in str(caught.value)


def test_one_cause_is_not_blamed_on_resuming(worlds, small):
    """Random numbers from outside the state make every run differ, a resumed one too."""
    with pytest.raises(CheckError) as caught:
        check_algorithm(Broken(small, update=unseeded_update), worlds, updates=1)
    assert not [violation for violation in caught.value.violations if "to_arrays" in violation]


@dataclass
class Melted:
    """A configuration that is not frozen."""

    iterations: int = 1


@dataclass(frozen=True)
class Endless:
    """A configuration without a budget."""

    horizon: int = 4


@dataclass(frozen=True)
class Odd:
    """A configuration with a value that no file gives back."""

    iterations: int = 1
    sizes: Any = frozenset({1})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Melted(), "config is of type Melted; make it a dataclass with frozen=True"),
        ({"iterations": 1}, "config is of type dict; make it a dataclass with frozen=True"),
        (Endless(), "config has no field iterations"),
        (Odd(), "config does not survive run.json: .*frozenset"),
    ],
)
def test_a_configuration_that_no_run_can_have_is_found(worlds, small, config, message):
    algorithm = Broken(small)
    algorithm.config = config
    with pytest.raises(CheckError, match=message):
        check_algorithm(algorithm, worlds, updates=1)


def test_a_name_is_missing(worlds, small):
    algorithm = Broken(small)
    algorithm.name = None
    with pytest.raises(CheckError, match="the algorithm has no name"):
        check_algorithm(algorithm, worlds, updates=1)


@pytest.mark.parametrize("name", ["shac", "ppo", "trajopt"])
def test_the_librarys_own_pass(worlds, small, name):
    entry = get_algorithm(name)
    fields = {key: value for key, value in vars(small).items() if key in vars(entry.config_class()())}
    tested = check_algorithm(entry.build(entry.config_class()(**fields)), worlds, updates=1)
    assert len(tested) == 9 and all(promise.endswith(".") for promise in tested)
