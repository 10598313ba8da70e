"""What was learned goes on in other worlds, and into other runs: every algorithm, or a refusal that says why."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import Budget, CheckpointError, RunError, UsageError, evaluate, load_policy, train
from diffrl_algos._run import Run
from diffrl_algos._session import start_run
from diffrl_algos._spec import RunSpec
from diffrl_algos._start import starting_from
from diffrl_algos.cli import main
from diffrl_algos.torch._state import to_arrays

from .test_family import NAMES, build, networks, run


@pytest.mark.parametrize("name", NAMES)
def test_a_curriculum_trains_in_the_new_worlds(worlds, name):
    """Another number of worlds and other options of the task: the learner goes on, the old worlds are left."""
    algorithm = build(name)
    easy, hard = worlds(6, limit=0.9), worlds(4, limit=0.5)
    first = train(algorithm, easy, Budget(iterations=2), seed=3).state
    moved = algorithm.carry(first, hard, 5)
    assert moved.env is hard and (moved.iteration, moved.env_steps) == (2, first.env_steps)
    assert networks(moved).keys() == networks(first).keys() != set()
    assert all(torch.equal(value, networks(first)[key]) for key, value in networks(moved).items())
    assert torch.equal(moved.run.stats.mean, first.run.stats.mean) and torch.equal(moved.run.rng, first.run.rng)
    assert torch.equal(moved.run.obs, algorithm.init(hard, 5).run.obs)
    stepped = hard.step
    calls = []
    hard.step = lambda state, action: calls.append(1) or stepped(state, action)
    result = train(algorithm, hard, Budget(iterations=4), seed=5, state=first)
    assert result.state.env is hard and result.state.iteration == 4 and len(calls) > 0
    again = train(algorithm, worlds(4, limit=0.5), Budget(iterations=4), seed=5, state=first)
    one, other = to_arrays(result.state), to_arrays(again.state)
    assert all(one[key].tobytes() == other[key].tobytes() for key in one)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_worlds_go_on_with_the_same_bits(worlds, name):
    algorithm = build(name)
    whole = to_arrays(run(algorithm, algorithm.init(worlds(), 0), 4)[0])
    first = train(algorithm, worlds(), Budget(iterations=2)).state
    rest = train(algorithm, first.env, Budget(iterations=4), state=first).state
    assert all(np.array_equal(array, to_arrays(rest)[key]) for key, array in whole.items())


@pytest.mark.parametrize("name", NAMES)
def test_worlds_with_other_observations_are_refused_by_name(worlds, name):
    algorithm = build(name)
    first = train(algorithm, worlds(), Budget(iterations=1)).state
    with pytest.raises(UsageError, match=rf"{name} cannot go on in these worlds: \S+ was learned with shape"):
        train(algorithm, diffsim_core.make("cartpole", num_envs=4), Budget(iterations=2), state=first)


def test_an_algorithm_without_carry_is_refused_by_name(worlds):
    class Own:
        name = "own"
        config = build("shac").config

    state = build("shac").init(worlds(), 0)
    with pytest.raises(UsageError, match=r"env is not state.env, and own has no method carry\(state, env, seed\)"):
        train(Own(), worlds(), state=state)  # pyright: ignore[reportArgumentType]


SMALL = ["--num-envs", 4, "--horizon", 8, "--actor-hidden", "16,8", "--critic-hidden", 16, "--critic-iterations", 2]
SMALL += ["--eval-episodes", 8, "--task-option", "horizon=5", "--iterations", 3]


@pytest.fixture
def diffrl(capfd):
    """Run the command in this process: ``(exit code, JSON or None, stderr)``."""

    def command(*arguments):
        code = main([str(argument) for argument in arguments] + ["--json"])
        out, err = capfd.readouterr()
        return code, json.loads(out) if out else None, err

    return command


@pytest.fixture
def trained(diffrl, tmp_path):
    """A finished run of three updates."""
    code, _, err = diffrl("train", "shac", "toy", *SMALL, "--out", tmp_path / "first")
    assert code == 0, err
    return tmp_path / "first"


def test_the_policy_of_a_run_is_loaded(diffrl, trained):
    """It earns what ``diffrl eval`` says, in any number of worlds, with what it was trained with."""
    code, found, _ = diffrl("eval", trained, "--episodes", 8, "--seed", 3)
    assert code == 0
    env = diffsim_core.make("toy", num_envs=8, horizon=5)
    for which in ("last", 3, "3"):
        policy = load_policy(trained, which=str(which))
        assert evaluate(env, policy, episodes=8, seed=3).return_mean == found["return_mean"]
    one = load_policy(str(trained), deterministic=False, seed=1)(env.reset(0)[1])
    other = load_policy(trained, deterministic=False, seed=1)(env.reset(0)[1])
    assert torch.equal(one, other) and not torch.equal(one, load_policy(trained)(env.reset(0)[1]))
    with pytest.raises(RunError, match="is not a run folder"):
        load_policy(trained / "checkpoints")
    with pytest.raises(CheckpointError, match="has no checkpoint '7'; there are"):
        load_policy(trained, which="7")


def test_a_run_begins_with_the_policy_of_another(diffrl, trained, tmp_path):
    new = tmp_path / "new"
    options = [*SMALL, "--num-envs", 6, "--task-option", "limit=0.5", "--seed", 4, "--init-from", trained]
    code, summary, err = diffrl("train", "shac", "toy", *options, "--out", new, "--stop-after", 1)
    assert code == 0 and summary["iterations"] == 1, err
    learned, _ = Run.open(trained).load("last")
    begins, manifest = Run.open(new).load("0")
    assert (begins["actor"] == learned["actor"]).all() and (begins["run.stats.mean"] == learned["run.stats.mean"]).all()
    assert manifest.iteration == manifest.env_steps == 0 and begins["run.obs"].shape == (6, 2)
    shutil.rmtree(trained)  # which nothing needs any more
    code, summary, err = diffrl("train", "--resume", new)
    assert code == 0 and summary["iterations"] == 3, err
    code, summary, err = diffrl("eval", new)
    assert code == 0, err


def test_another_algorithm_begins_with_the_actor(diffrl, trained, tmp_path):
    arguments = ["toy", *SMALL, "--init-from", trained, "--stop-after", 1, "--out", tmp_path / "new"]
    code, _, err = diffrl("train", "ppo", *arguments)
    assert code == 2 and "activation is silu, and elu there; give --activation elu" in err
    assert not (tmp_path / "new").exists()
    like = ["--activation", "elu", "--layer-norm", "true", "--state-dependent-std", "false"]
    code, _, err = diffrl("train", "ppo", *arguments, *like)
    assert code == 0, err
    assert (Run.open(tmp_path / "new").load("0")[0]["actor"] == Run.open(trained).load("last")[0]["actor"]).all()
    code, _, err = diffrl("train", "trajopt", "toy", "--init-from", trained, "--out", tmp_path / "open")
    assert code == 2 and "trajopt cannot begin with the policy of" in err and "do not both have 'actor'" in err


def test_a_finished_run_goes_on_to_a_larger_budget(diffrl, trained, tmp_path):
    new = tmp_path / "new"
    code, summary, err = diffrl("train", "--extend", trained, "--iterations", 5, "--out", new)
    assert code == 0 and summary["iterations"] == 5 and summary["env_steps"] == 5 * 32, err
    lines = [json.loads(line) for line in (new / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[:3] == [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert Run.open(new).spec.config.iterations == 5 and Run.open(trained).spec.config.iterations == 3
    # the same updates, in two parts, and without the run that it goes on with
    half = tmp_path / "half"
    code, _, err = diffrl("train", "--extend", trained, "--iterations", 5, "--out", half, "--stop-after", 1)
    assert code == 0, err
    shutil.rmtree(trained)
    code, _, err = diffrl("train", "--resume", half)
    assert code == 0, err
    one, other = Run.open(new).load("last")[0], Run.open(half).load("last")[0]
    assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--extend", "RUN"], "--extend needs a budget"),
        (["--extend", "RUN", "--iterations", 3], "has 3 updates, 96 steps and"),
        (["--extend", "RUN", "--env-steps", 90], "a budget counts from the beginning and must be larger"),
        (["--extend", "RUN", "--iterations", 9, "--gamma", 0.9], "--gamma is fixed when a run begins"),
        (["--extend", "RUN", "--iterations", 9, "--seed", 1], "seed stays as it is"),
        (["shac", "toy", "--extend", "RUN", "--iterations", 9], "ALGO stays as it is"),
        (["--extend", "RUN", "--iterations", 9, "--env-steps", 900], "a budget is one of"),
        (["--extend", "nowhere", "--iterations", 9], "nowhere is not a run folder"),
        (["--resume", "RUN", "--iterations", 9], "iterations is fixed when a run begins"),
        (["--resume", "RUN", "--iterations", 9], "to go on beyond the budget: --extend"),
        (["shac", "toy", "--init-from", "nowhere"], "nowhere is not a run folder"),
        (["shac", "toy", "--init-checkpoint", "3"], "--init-checkpoint names a checkpoint of --init-from"),
        (["shac", "cartpole", "--init-from", "RUN", *SMALL[:8]], "actor was learned with shape"),
        (
            ["shac", "toy", "--init-from", "RUN"],
            "and (16, 8) there; give --actor-hidden 16,8",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(diffrl, trained, tmp_path, arguments, words):
    given = [str(trained) if argument == "RUN" else argument for argument in arguments]
    code, _, err = diffrl("train", *given, *([] if "--resume" in given else ["--out", tmp_path / "new"]))
    assert code == 2 and words in err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_that_has_changed_is_not_begun_with(diffrl, trained, tmp_path):
    """Only a run that was killed before its own first checkpoint asks again."""
    run = Run.open(trained)
    spec = starting_from(run.spec, trained)
    spec = dataclasses.replace(spec, start=dataclasses.replace(spec.start, sha256="0" * 64))
    with pytest.raises(CheckpointError, match="has changed since this run was made"):
        start_run(spec, tmp_path / "new")
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
