"""The conformance kit of algorithms finds what it says it finds, and the guide's own algorithm passes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffrl_algos
from diffrl_algos import SHACConfig, evaluate, get_algorithm, train
from diffrl_algos._imports import import_module
from diffrl_algos.check import CheckError, check_algorithm
from diffrl_algos.cli import main
from diffrl_algos.torch import SHAC

GUIDE = Path(__file__).parents[3] / "docs" / "algorithms" / "own-algorithm.md"


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
    return right(state, arrays)._replace(rng=state.rng)


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
        new = new._replace(actor=new.actor * torch.nan)
    return new, metrics


def stops(right, state):
    new, metrics = right(state)
    if metrics["refused_updates"]:
        raise RuntimeError("not finite")
    return new, metrics


def unseeded(right, env, seed):
    state = right(env, seed)
    return state._replace(actor=state.actor + 1e-3 * torch.randn_like(state.actor))


CASES = {
    "iteration is 2 after 1 updates": {"update": after(lambda s, n, m: (n._replace(iteration=n.iteration + 1), m))},
    "env_steps stays at": {"update": after(lambda s, n, m: (n._replace(env_steps=s.env_steps), m))},
    "metrics have no return_mean": {"update": after(lambda s, n, m: (n, {k: m[k] for k in m if k != "return_mean"}))},
    "metrics.extra is of type Tensor": {"update": after(lambda s, n, m: (n, {**m, "extra": torch.zeros(())}))},
    "metrics.extra is nan": {"update": after(lambda s, n, m: (n, {**m, "extra": float("nan")}))},
    "same seed gives different bits in .*actor": {"init": unseeded},
    "seeds 0 and 1 give the same run": {"init": lambda right, env, seed: right(env, 0)},
    "from_arrays does not restore rng": {"from_arrays": forgets_the_generator},
    "with dtype <U3; a checkpoint holds numbers": {
        "to_arrays": lambda right, state: {**right(state), "who": np.asarray("one")},
        "from_arrays": lambda right, state, arrays: right(state, {k: v for k, v in arrays.items() if k != "who"}),
    },
    "update changes actor of the state it was given": {"update": in_place},
    "without any array is taken without an error": {"from_arrays": from_nothing},
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


@pytest.mark.parametrize("name", ["shac", "ppo", "trajopt"])
def test_the_librarys_own_pass(worlds, small, name):
    entry = get_algorithm(name)
    fields = {key: value for key, value in vars(small).items() if key in vars(entry.config_class()())}
    tested = check_algorithm(entry.build(entry.config_class()(**fields)), worlds, updates=1)
    assert len(tested) == 7 and all(promise.endswith(".") for promise in tested)


@pytest.fixture
def ascent(tmp_path, monkeypatch):
    """The algorithm of the guide, from the page itself."""
    monkeypatch.setattr("diffrl_algos._registry._ENTRIES", dict(diffrl_algos._registry._ENTRIES))
    path = tmp_path / "ascent.py"
    path.write_text(re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)[0], encoding="utf-8")
    import_module(str(path))
    return path


def test_the_guides_algorithm_is_as_short_as_it_says(ascent):
    lines = [line for line in ascent.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) <= 140
    code = [line for line in lines if not line.strip().startswith(('"""', "#", "import", "from", ")", "]"))]
    assert len(code) <= 105


def test_the_guides_algorithm_passes(ascent, worlds):
    entry = get_algorithm("ascent")
    algorithm = entry.build(entry.config_class()(horizon=8, hidden=8))
    assert len(check_algorithm(algorithm, worlds)) == 7
    with pytest.raises(ValueError, match="lr is 0"):
        entry.config_class()(lr=0.0)


def test_the_guides_algorithm_learns(ascent, worlds):
    entry = get_algorithm("ascent")
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    algorithm = entry.build(entry.config_class()(iterations=60, hidden=16, lr=0.1))
    start = algorithm.init(env, 0)
    state = train(algorithm, env, state=start).state
    untrained, trained = (
        evaluate(env, algorithm.policy(part), episodes=32, seed=99).return_mean for part in (start, state)
    )
    assert untrained < 25.0 < 35.0 < trained


def test_the_guides_algorithm_is_one_of_diffrls(ascent, tmp_path, capsys, monkeypatch):
    """Listed, trained on CartPole, stopped and resumed by the command line."""
    monkeypatch.chdir(tmp_path)
    assert main(["list", "algos", "--import", str(ascent), "--json"]) == 0
    assert "ascent" in [row["name"] for row in json.loads(capsys.readouterr().out)]
    options = ["--num-envs", "4", "--iterations", "4", "--horizon", "8", "--eval-episodes", "2"]
    import_flag = ["--import", str(ascent), "--json"]
    assert main(["train", "ascent", "cartpole", *options, "--out", "run", "--stop-after", "2", *import_flag]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "stopped"
    assert main(["train", "--resume", "run", *import_flag]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["status"], summary["iterations"], summary["algorithm"]) == ("finished", 4, "ascent")
