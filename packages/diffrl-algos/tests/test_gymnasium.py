"""Environments of Gymnasium from the command line: one command trains, and what came of it is resumed and used."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import UsageError, default_preset, evaluate, load_preset
from diffrl_algos._folders import default_path
from diffrl_algos._spec import RunSpec
from diffrl_algos._train import Budget
from diffrl_algos.cli import main
from diffrl_algos.torch import PPO
from diffrl_algos.torch import _export as files

from .learning import before_and_after
from .test_family import build

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.vector import AutoresetMode, SyncVectorEnv  # noqa: E402

from diffsim_core.adapters import FromGymnasium  # noqa: E402

TASK = "gym:Pendulum-v1"
SMALL = {
    "ppo": ["--horizon", 8, "--actor-minibatches", 2, "--critic-minibatches", 2, "--critic-hidden", 8],
    "sac": ["--horizon", 8, "--warmup-steps", 8, "--updates", 2, "--batch-size", 16, "--critic-hidden", 8],
    "td3": ["--horizon", 8, "--warmup-steps", 8, "--updates", 2, "--batch-size", 16, "--critic-hidden", 8],
}


def diffrl(capfd, *arguments):
    """The value it prints; it must succeed."""
    capfd.readouterr()
    code = main([str(argument) for argument in (*arguments, "--json")])
    out, err = capfd.readouterr()
    assert code == 0, err
    return json.loads(out)


def refused(capfd, *arguments):
    """Its one line of complaint."""
    capfd.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()[-1:]
    return line


def options(algorithm, out, limit=20):
    more = ["--num-envs", 3, "--actor-hidden", 8, "--eval-episodes", 4, "--iterations", 6, "--checkpoint-every", 1]
    return [*SMALL[algorithm], *more, "--task-option", f"max_episode_steps={limit}", "--out", out]


def weights(run):
    return (run / "checkpoints" / "00000006.safetensors").read_bytes()


@pytest.mark.parametrize("algorithm", SMALL)
def test_train_resume_eval(algorithm, capfd, tmp_path):
    """Episodes of 8 steps end where windows of 8 do: resumed is as never stopped. With 20 it is at least repeatable."""
    whole, *parts = (tmp_path / name for name in ("whole", "first", "second"))
    summary = diffrl(capfd, "train", algorithm, TASK, *options(algorithm, whole, limit=8))
    assert summary["status"] == "finished" and summary["env_steps"] == 6 * 8 * 3 and summary["length_mean"] == 8
    evaluated = diffrl(capfd, "eval", whole)
    assert evaluated["return_mean"] == summary["return_mean"] < 0
    for limit in (8, 20):
        folders = [part.with_suffix(f".{limit}") for part in parts]
        for folder in folders:
            diffrl(capfd, "train", algorithm, TASK, *options(algorithm, folder, limit), "--stop-after", 3)
            assert diffrl(capfd, "train", "--resume", folder)["status"] == "finished"
        one, two = map(weights, folders)
        assert one == two and (limit == 20 or one == weights(whole))


def test_export(capfd, tmp_path):
    run, file = tmp_path / "run", tmp_path / "policy.pt2"
    diffrl(capfd, "train", "ppo", TASK, *options("ppo", run))
    about = diffrl(capfd, "export", run, "--format", "torch", "--out", file)
    assert (about["task"], about["num_obs"], about["num_actions"], about["dt"]) == (TASK, 3, 1, 0.05)
    act = files.torch_policy(file.read_bytes())
    assert act(torch.zeros(5, 3)).shape == (5, 1)
    about = diffrl(capfd, "export", run, "--format", "torch", "--actions", "control", "--out", file)
    assert (about["action_low"], about["action_high"]) == ([-2.0], [2.0])
    obs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(files.torch_policy(file.read_bytes())(obs), 2.0 * act(obs))


class Counter(gymnasium.Env):
    """Episodes of ``length`` steps whose rewards are 1, 2, 3 and so on."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    observation_space = gymnasium.spaces.Box(-100.0, 100.0, (1,))

    def __init__(self, length):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.k = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.k += 1
        return np.full(1, self.k, np.float32), float(self.k), False, self.k == self.length, {}


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("algorithm", ["ppo", "lr", "sac", "td3"])
def test_episodes_of_vector_environments_are_counted_whole(mode, algorithm):
    """In training and in evaluation, whatever the step in which a vector environment resets its worlds."""

    def vector():
        return SyncVectorEnv([lambda k=k: Counter(k) for k in (3, 5)], autoreset_mode=mode)

    env = FromGymnasium(vector, 2, max_episode_steps=5)
    algorithm = build(algorithm, horizon=16)
    state, metrics = algorithm.update(algorithm.init(env, 0))
    next_step = mode is AutoresetMode.NEXT_STEP
    ended = state.run.episodes
    assert ended.finished == (4 + 2 if next_step else 5 + 3) and metrics["refused_updates"] == 0
    found = sorted(ended.recent_return[: ended.finished].tolist())
    assert found == [6.0] * (4 if next_step else 5) + [15.0] * (2 if next_step else 3)
    result = evaluate(FromGymnasium(vector, 2, max_episode_steps=5), algorithm.policy(state), episodes=6, seed=0)
    assert result.returns.tolist() == [6.0] * 3 + [15.0] * 3 and result.lengths.tolist() == [3] * 3 + [5] * 3


def test_what_is_refused(capfd, tmp_path, monkeypatch):
    out = ["--out", tmp_path / "run"]
    assert "'gym:Pendulum-v1' is not differentiable, and SHAC learns through its gradients; use ppo" in refused(
        capfd, "train", "shac", TASK, *out
    )
    assert "Did you mean: `Pendulum`" in refused(capfd, "train", "ppo", "gym:Pendulun-v1", *out)
    assert "acts in Discrete(2)" in refused(capfd, "train", "ppo", "gym:CartPole-v1", *out)
    assert "gym:Pendulum-v1 has no gradients; check is for" in refused(capfd, "check", TASK)
    assert not (tmp_path / "run").exists()
    diffrl(capfd, "train", "ppo", TASK, *options("ppo", *out[1:]))
    assert "only rigid bodies can be recorded" in refused(capfd, "play", *out[1:])
    for known in [name for name in sys.modules if name.startswith("diffsim_core.adapters._")]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    assert "pip install 'diffsim-core[gymnasium]'" in refused(capfd, "train", "ppo", TASK, "--out", tmp_path / "other")


def test_presets_and_folders():
    """An environment without a preset of its own has that of its family, where the algorithm has one."""
    general = load_preset("ppo", "gym:Hopper-v5")
    assert (general.task, general.num_envs * general.config.horizon) == ("gym:Hopper-v5", 2048)
    assert general.config == load_preset("ppo", "gym").config == default_preset("ppo", "gym:Ant-v5").config
    for algorithm in ("sac", "td3"):
        preset = default_preset(algorithm, "gym:Hopper-v5")
        assert preset.config.updates == preset.num_envs * preset.config.horizon  # a gradient step for each step
    with pytest.raises(UsageError, match="unknown preset 'shac-gym:Hopper-v5'"):
        load_preset("shac", "gym:Hopper-v5")
    budget, rest = Budget(iterations=1), {"num_envs": 1, "task_options": {}}
    spec = RunSpec(algorithm="ppo", task="gym:ALE/Pong-v5", config=general.config, budget=budget, **rest)
    assert default_path(spec).name.startswith("ppo-gym-ALE-Pong-v5-s0-") and len(default_path(spec).parts) == 2


def test_list_tells_of_them(capfd):
    assert main(["list", "tasks"]) == 0
    assert "gym:ID" in capfd.readouterr().out
    assert all(":" not in row["name"] for row in diffrl(capfd, "list", "tasks"))


@pytest.mark.slow
def test_ppo_balances_gymnasiums_inverted_pendulum():
    """Half a minute; a pole that is held for the whole episode earns 1000."""
    preset = load_preset("ppo", "gym:InvertedPendulum-v5")
    config = dataclasses.replace(preset.config, iterations=25)
    before, after, _ = before_and_after(PPO(config), diffsim_core.make(preset.task, num_envs=preset.num_envs))
    assert before < 200 and after > 950


def test_evaluations_start_no_more_processes_than_were_asked_for(capfd, tmp_path, monkeypatch):
    """With each world in a process of its own, at the end, on the way, afterwards and for an export."""
    from diffsim_core.adapters import _from_gymnasium

    made = []

    class Counted(_from_gymnasium.SyncVectorEnv):
        def __init__(self, functions, **options):
            made.append(len(functions))
            super().__init__(functions, **options)

    monkeypatch.setitem(_from_gymnasium._MODES, "async", Counted)
    run, several = tmp_path / "run", ["--task-option", "vectorization_mode=async", "--eval-every", 3]
    summary = diffrl(capfd, "train", "ppo", TASK, *options("ppo", run), *several, "--eval-episodes", 7)
    again = diffrl(capfd, "eval", run)
    assert summary["episodes"] == again["episodes"] == 7 and summary["return_mean"] == again["return_mean"]
    diffrl(capfd, "export", run, "--format", "torch", "--out", tmp_path / "policy.pt2")
    assert len(made) >= 7 and max(made) == 3
