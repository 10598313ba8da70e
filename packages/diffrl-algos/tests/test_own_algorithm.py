"""An algorithm of a user's own is one short file: everything that ours can do, it can do."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import diffrl_algos
from diffrl_algos import UsageError, evaluate, get_algorithm, list_algorithms, train
from diffrl_algos._imports import import_module
from diffrl_algos.check import check_algorithm
from diffrl_algos.cli import main
from diffrl_algos.torch._export import torch_policy
from diffrl_algos.torch._state import to_arrays

FILE = Path(__file__).with_name("trust.py")
PAGE = Path(__file__).parents[3] / "docs" / "algorithms" / "own-algorithm.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
SMALL = {"horizon": 8, "actor_hidden": (16, 8), "critic_hidden": (16,), "critic_iterations": 2, "actor_lr": 0.5}


@pytest.fixture
def trust(monkeypatch):
    """The module of the algorithm, imported as ``--import`` does it."""
    monkeypatch.setattr("diffrl_algos._registry._ENTRIES", dict(diffrl_algos._registry._ENTRIES))
    monkeypatch.setitem(sys.modules, "trust", None)
    import_module(str(FILE))
    return sys.modules["trust"]


def test_it_is_as_short_as_the_page_says_and_is_the_pages():
    source = FILE.read_text("utf-8")
    assert len(source.splitlines()) <= 70
    assert EXAMPLES[0] == source


def test_one_file_makes_it_known(trust):
    """Name, summary, configuration and help are in it."""
    entry = get_algorithm("trust")
    assert entry.summary in {one.summary for one in list_algorithms()} and entry.summary.startswith("Short windows")
    assert entry.config_class() is trust.TrustConfig
    assert entry.build(trust.TrustConfig()) == trust.Trust()
    with pytest.raises(ValueError, match=r"kl_max is 0\.0 and tries is 8; both must be positive"):
        trust.TrustConfig(kl_max=0.0)


def test_it_keeps_every_promise(trust, worlds):
    assert len(check_algorithm(trust.Trust(trust.TrustConfig(**SMALL)), worlds)) == 12


def test_a_reward_that_is_not_a_number_is_refused_and_counted(trust, worlds):
    algorithm, env = trust.Trust(trust.TrustConfig(**SMALL)), worlds()
    first, _ = algorithm.update(algorithm.init(env, 0))
    step = env.step

    def broken(state, action):
        state, transition = step(state, action)
        return state, transition._replace(reward=transition.reward * torch.nan)

    env.step = broken
    second, metrics = algorithm.update(first)
    assert metrics["refused_updates"] == second.run.refused == 1
    assert torch.equal(first.actor, second.actor) and torch.equal(first.critic, second.critic)
    env.step = step
    third, metrics = algorithm.update(second)
    assert metrics["refused_updates"] == 1
    assert not torch.equal(second.actor, third.actor) and torch.isfinite(third.actor).all()


def test_its_steps_are_the_longest_within_the_bound(trust, worlds):
    """Twice the step would leave it, where the step was shortened."""
    bound = 0.05
    algorithm = trust.Trust(trust.TrustConfig(**SMALL, kl_max=bound, tries=20))
    state, fractions = algorithm.init(worlds(), 0), []
    for _ in range(6):
        _, normalize, window = algorithm.explore(state, state.run.generator())
        new, metrics = algorithm.update(state)
        actor, x, acted = algorithm.actor(state.env), normalize(window.trajectory.obs), window.policy
        step = new.actor - state.actor
        with torch.no_grad():
            once, twice = (float(acted.kl(actor(actor.split(state.actor + k * step), x)).mean()) for k in (1, 2))
        assert 0.0 < once <= bound and (metrics["step_fraction"] == 1.0 or twice > bound)
        fractions.append(metrics["step_fraction"])
        state = new
    assert min(fractions) < 1.0


def test_the_bound_is_what_makes_it_learn(trust, worlds):
    """At this learning rate the same steps without the bound destroy the policy."""
    env, returns = worlds(num_envs=32, limit=10.0, horizon=40), []
    for kl_max in (0.05, 1e9):
        fields = {"iterations": 40, "horizon": 16, "actor_hidden": (16,), "critic_iterations": 4, "kl_max": kl_max}
        algorithm = trust.Trust(trust.TrustConfig(**{**SMALL, **fields}))
        start = algorithm.init(env, 0)
        end = train(algorithm, env, state=start).state
        returns.append([evaluate(env, algorithm.policy(s), episodes=32, seed=99).return_mean for s in (start, end)])
    (before, bounded), (_, unbounded) = returns
    assert before < 0.0 < 36.0 < bounded < 40.0
    assert unbounded < 20.0


@pytest.fixture
def diffrl(tmp_path, monkeypatch, capfd):
    """The command in a folder of its own: its JSON."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([*arguments, "--json"])
        out, err = capfd.readouterr()
        assert code == 0, err
        return json.loads(out)

    return run


OPTIONS = [
    *("--num-envs", "4", "--iterations", "4", "--horizon", "8", "--kl-max", "0.02", "--eval-episodes", "3"),
    *("--task-option", "horizon=6"),
]


def assert_whole_way(diffrl, folder, *import_flag):
    """Trained, stopped, resumed to the same bits, evaluated and exported by the command."""
    assert "trust" in [row["name"] for row in diffrl("list", "algos", *import_flag)]
    whole = diffrl("train", "trust", "toy", *OPTIONS, "--out", "whole", *import_flag)
    half = diffrl("train", "trust", "toy", *OPTIONS, "--out", "half", "--stop-after", "2", *import_flag)
    assert (half["status"], half["iterations"]) == ("stopped", 2)
    resumed = diffrl("train", "--resume", "half", *import_flag)
    assert (resumed["status"], resumed["algorithm"]) == ("finished", "trust")
    bits = [(folder / run / "checkpoints" / "00000004.safetensors").read_bytes() for run in ("whole", "half")]
    assert bits[0] == bits[1]
    evaluated = diffrl("eval", "half", *import_flag)
    assert evaluated["return_mean"] == resumed["return_mean"] == whole["return_mean"]
    exported = diffrl("export", "half", "--format", "torch", "--out", "policy.pt2", *import_flag)
    assert exported["algorithm"] == "trust" and exported["max_abs_error"] == 0.0
    assert torch_policy((folder / "policy.pt2").read_bytes())(torch.zeros(3, 2)).shape == (3, 1)


def test_the_command_does_all_with_it(trust, diffrl, tmp_path):
    assert_whole_way(diffrl, tmp_path, "--import", str(FILE))


def test_without_the_import_the_error_names_it(trust, diffrl, monkeypatch, capfd):
    diffrl("train", "trust", "toy", *OPTIONS, "--out", "run", "--stop-after", "1", "--import", str(FILE))
    monkeypatch.setattr("diffrl_algos._registry._ENTRIES", {})
    for arguments in (["train", "--resume", "run"], ["train", "trust", "toy"], ["eval", "run"]):
        assert main(arguments) == 2
        said, names = capfd.readouterr().err, "unknown algorithm 'trust'" if "toy" in arguments else str(FILE)
        assert names in said and "--import FILE" in said


class Package:
    """What ``importlib.resources.files`` gives of a package whose folder is elsewhere."""

    def __init__(self, root):
        self.joinpath = root.joinpath


def test_the_same_file_among_ours_is_one_of_ours(diffrl, tmp_path, monkeypatch):
    """Copied into the folder of algorithms, and nothing else: no import, no list, no entry point."""
    folder = tmp_path / "torch" / "algorithms"
    folder.mkdir(parents=True)
    shutil.copy(FILE, folder)
    registry, package = diffrl_algos._registry, sys.modules["diffrl_algos.torch.algorithms"]
    monkeypatch.setattr(registry, "_ENTRIES", {})
    monkeypatch.setattr(registry, "files", {"diffrl_algos": Package(tmp_path)}.__getitem__)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setitem(sys.modules, "diffrl_algos.torch.algorithms.trust", None)
    monkeypatch.delitem(sys.modules, "diffrl_algos.torch.algorithms.trust")
    registry._own.cache_clear()
    try:
        assert registry._own("torch").keys() == {"trust"}
        assert get_algorithm("trust").summary.startswith("Short windows, with steps as long as a bound")
        assert not [name for name in sys.modules if name.rpartition(".")[2] == "trust"]  # read without being imported
        assert_whole_way(diffrl, tmp_path)
    finally:
        registry._own.cache_clear()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"algorithm": "trust:Thrust"}, "'trust:Thrust' does not exist; the entry needs 'module:Class'"),
        ({"algorithm": "trust"}, "'trust' does not exist; the entry needs 'module:Class'"),
        ({"algorithm": "diffrl_algos.torch:ActorLearner"}, "annotate the field config of diffrl_algos.torch:ActorL"),
        ({"config": "trust:gradest"}, "which is no dataclass"),
    ],
)
def test_an_entry_that_names_nothing_is_refused(trust, fields, message):
    entry = diffrl_algos.AlgorithmEntry(**{"name": "own", "algorithm": "trust:Trust", "summary": "", **fields})
    with pytest.raises(UsageError, match=f"algorithm 'own'.*{message}"):
        entry.config_class()


def test_what_learn_gives_is_checked_by_name(trust, worlds, monkeypatch):
    algorithm = trust.Trust(trust.TrustConfig(**SMALL))
    state = algorithm.init(worlds(), 0)
    learn = trust.Trust.learn
    monkeypatch.setattr(trust.Trust, "learn", lambda *arguments: None)
    with pytest.raises(TypeError, match=r"Trust\.learn returned NoneType, not Learned"):
        algorithm.update(state)
    for wrong, given in ((0.5, "float"), (torch.zeros(3), r"\[3\]")):

        def learned(*arguments, wrong=wrong):
            found = learn(*arguments)
            return type(found)(**{**vars(found), "metrics": {**found.metrics, "extra": wrong}})

        monkeypatch.setattr(trust.Trust, "learn", learned)
        with pytest.raises(TypeError, match=f"metric 'extra' is {given}, not a scalar tensor"):
            algorithm.update(state)


@pytest.fixture
def search(monkeypatch, tmp_path):
    """The page's algorithm without ``Learner``, after the first example, whose imports it uses."""
    monkeypatch.setattr("diffrl_algos._registry._ENTRIES", dict(diffrl_algos._registry._ENTRIES))
    (source,) = (example for example in EXAMPLES if "class Search:" in example)
    path = tmp_path / "search.py"
    path.write_text(EXAMPLES[0] + source.partition("\nfor promise")[0], encoding="utf-8")
    monkeypatch.setitem(sys.modules, "search", None)
    import_module(str(path))
    return sys.modules["search"]


def test_an_algorithm_without_the_learner_learns(search, worlds):
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    algorithm = search.Search(search.SearchConfig(iterations=60))
    start = algorithm.init(env, 0)
    end = train(algorithm, env, state=start).state
    before, after = (evaluate(env, algorithm.policy(s), episodes=32, seed=99).return_mean for s in (start, end))
    assert before < 25.0 < 36.0 < after
    assert set(to_arrays(end)) == {"weights", "rng", "iteration", "env_steps", "refused"}


def test_the_command_trains_it_for_a_number_of_steps(search, diffrl):
    """Its configuration has no horizon, from which the updates of such a budget would follow."""
    entry = diffrl_algos.AlgorithmEntry(name="search", algorithm="search:Search", summary="")
    diffrl_algos.register_algorithm(entry)
    options = ["--num-envs", "4", "--task-option", "horizon=6", "--eval-episodes", "3"]
    summary = diffrl("train", "search", "toy", *options, "--env-steps", "50", "--out", "run")
    assert (summary["status"], summary["iterations"], summary["env_steps"]) == ("finished", 3, 72)
    assert diffrl("eval", "run")["return_mean"] == summary["return_mean"]
