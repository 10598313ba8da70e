"""The conformance kit of algorithms finds every broken promise, and says what to do about it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from diffrl_algos import SHACConfig, get_algorithm, list_algorithms
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


HELD: list[Any] = []


def keeps_a_window_elsewhere(right, state):
    """The graph is in no field of the state."""
    action = torch.zeros(state.env.num_envs, 1, requires_grad=True)
    HELD.append(state.env.step(state.run.env_state, action)[1].reward)
    return right(state)


def reseeds(module):
    def update(right, state):
        getattr(module, "manual_seed", module.seed)(state.iteration)
        return right(state)

    return update


class Hidden:
    """A counter that is part of no state."""

    calls = 0

    def __call__(self, right, state):
        self.calls += 1
        new, metrics = right(state)
        return new.replace(actor=new.actor + 1e-3 * self.calls), metrics


def forgetful(right, state, arrays):
    """A field that is written and not read."""
    return right(state, arrays).replace(critic=state.critic)


def named(**methods):
    """A class of its own, with these functions only."""
    return type("Own", (), {"name": "own", "config": SHACConfig(), **methods})()


ADVERSARIES = {
    "the window of an update is not cut: its graph is still held": {"update": keeps_a_window_elsewhere},
    "actor is not finite after 1 updates": {"update": after(lambda s, n, m: (n.replace(actor=n.actor * torch.nan), m))},
    r"policy\(deterministic=True\) gives actions that are not finite": {
        "policy": lambda right, state, **o: lambda obs: right(state, **o)(obs) * torch.nan
    },
    "metrics.return_mean is nan": {"update": after(lambda s, n, m: (n, {**m, "return_mean": float("nan")}))},
    "update uses the global generator of torch": {"update": reseeds(torch)},
    "update uses the global generator of numpy.random": {"update": reseeds(np.random)},
    "update uses the global generator of random;": {"update": reseeds(random)},
    "init uses the global generator of torch": {"init": lambda right, env, seed: (torch.rand(1), right(env, seed))[1]},
    "policy uses the global generator of torch": {
        "policy": lambda right, state, **o: lambda obs: (torch.rand(1), right(state, **o)(obs))[1]
    },
    "seeds 0 and 1 begin with the same actor; draw it from the seed": {
        "init": lambda right, env, seed: right(env, seed).replace(actor=right(env, 0).actor)
    },
    "env_steps grows by 49 in update 1, which took 48 steps": {
        "update": after(lambda s, n, m: (n.replace(run=n.run._replace(env_steps=n.env_steps + 1)), m))
    },
    "env_steps grows by 8 in update 1, which took 48 steps": {
        "update": after(lambda s, n, m: (n.replace(run=n.run._replace(env_steps=s.env_steps + 8)), m))
    },
    "two updates of one state give different bits in actor": {"update": Hidden()},
    "from_arrays does not restore critic": {"from_arrays": forgetful},
    "gives actions with a gradient": {
        "policy": lambda right, state, **o: lambda obs: right(state, **o)(obs) * torch.ones((), requires_grad=True)
    },
    "update gives CriticState|update gives TargetState": {"update": lambda right, state: right(state)[0]},
    "ZeroDivisionError: division by zero .*test_check.py, line [0-9]+, in .*was not tested": {
        "update": lambda right, state: 1 / 0
    },
    "state.iteration is of type Tensor after update": {
        "update": after(lambda s, n, m: (n.replace(run=n.run._replace(iteration=torch.tensor(n.iteration))), m))
    },
}


@pytest.mark.parametrize(("message", "spoilt"), ADVERSARIES.items(), ids=ADVERSARIES)
def test_an_adversary_is_named(worlds, small, message, spoilt):
    HELD.clear()
    with pytest.raises(CheckError, match=message) as caught:
        check_algorithm(Broken(small, **spoilt), worlds, updates=1)
    assert all("\n" not in violation for violation in caught.value.violations)


def test_functions_and_fields_that_are_missing_are_listed(worlds):
    with pytest.raises(CheckError, match="has no update, to_arrays, from_arrays; it needs init, update, policy,"):
        check_algorithm(named(init=lambda self, env, seed: None, policy=lambda self, state: None), worlds)
    every = dict.fromkeys(("update", "policy", "to_arrays", "from_arrays"), lambda self, *given: None)
    whole = named(init=lambda self, env, seed: {"actor": 1}, **every)
    with pytest.raises(
        CheckError, match="the state that init gives has no env, iteration, env_steps; a state needs env"
    ):
        check_algorithm(whole, worlds)


@pytest.mark.parametrize("name", [entry.name for entry in list_algorithms() if entry.arrays == "torch"])
def test_the_librarys_own_pass(worlds, small, name):
    entry = get_algorithm(name)
    fields = {key: value for key, value in vars(small).items() if key in vars(entry.config_class()())}
    tested = check_algorithm(entry.build(entry.config_class()(**fields)), worlds, updates=1)
    assert len(tested) == 12 and all(promise.endswith(".") for promise in tested)
