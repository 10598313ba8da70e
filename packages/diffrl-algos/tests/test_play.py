"""``diffrl play`` and clips: what a run does, as files to look at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import Clips, Evaluator, SHACConfig, evaluate, get_algorithm, train
from diffrl_algos._clips import Played, footage_of, play_run
from diffrl_algos._run import Run
from diffrl_algos._session import evaluation_seed
from diffrl_algos._states import restore
from diffrl_algos.cli import main
from diffsim_core.viewer import Motion

TOY = str(Path(__file__).with_name("toy.py"))
SMALL = ["--horizon", "4", "--num-envs", "3", "--actor-hidden", "8", "--critic-hidden", "8", "--iterations", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of cartpole that has learnt nothing yet."""
    path = tmp_path_factory.mktemp("play") / "run"
    options = ["--task-option", "episode_length=12", "--eval-episodes", "3", "--out", str(path)]
    assert main(["train", "shac", "cartpole", *SMALL, *options]) == 0
    return path


def test_a_page_a_motion_and_what_is_said(run, tmp_path, capfd):
    html, npz = tmp_path / "a.html", tmp_path / "a.npz"
    args = ["play", run, "--html", html, "--motion", npz, "--worlds", 3, "--episodes", 2, "--json"]
    assert main([str(arg) for arg in args]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said.items() >= {"task": "cartpole", "worlds": 3, "frames": 24, "seconds": 24 / 60}.items()
    assert said["files"] == {"html": str(html), "motion": str(npz)}
    motion = Motion.load(npz)
    assert motion.begins.sum(0).tolist() == [2, 2, 2]
    assert said["reward_sum_mean"] == pytest.approx(motion.curves["reward"].sum(0).mean(), rel=1e-6)
    assert '"name":"cartpole"' in html.read_text()


def test_it_is_the_episode_that_the_evaluation_saw(run):
    motion = play_run(run, worlds=3).motion()
    state, _ = restore(Run.open(run), "last")
    algorithm = get_algorithm("shac").build(Run.open(run).spec.config)
    env = Run.open(run).spec.make_env(3)
    found = evaluate(env, algorithm.policy(state), episodes=3, seed=evaluation_seed(0))
    np.testing.assert_allclose(motion.curves["reward"].sum(0), found.returns, rtol=1e-5)
    _, obs = env.reset(evaluation_seed(0))
    np.testing.assert_array_equal(motion.curves["value"][0], algorithm.value(state)(obs))


def test_by_default_it_lands_in_the_run(run, capfd):
    assert main(["play", str(run), "--seconds", "0.1", "--stochastic", "--seed", "3"]) == 0
    out, _ = capfd.readouterr()
    assert "0.1 s of 4 worlds of cartpole" in out and str(run / "play.html") in out
    assert (run / "play.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--worlds", "0"], "--worlds: invalid value '0'; it takes an integer from 1 to 1024"),
        (["--seconds", "-1"], "--seconds: invalid value '-1'; it takes a number from 0.001"),
        (["--html", "nowhere/a.html"], "does not exist; create it first"),
        (["--checkpoint", "77"], "77"),
        (["--video", "a.avi"], "use .gif or .mp4"),
    ],
)
def test_bad_input_is_one_line(run, options, words, capfd):
    assert main(["play", str(run), *options]) == 2
    _, err = capfd.readouterr()
    assert words in err and err.startswith("diffrl: ") and err.count("\n") == 1


def test_a_task_without_bodies_is_refused(tmp_path, capfd):
    path = tmp_path / "run"
    options = ["--task-option", "horizon=6", "--eval-episodes", "3", "--out", str(path)]
    assert main(["train", "shac", "toy", *SMALL, *options, "--import", TOY]) == 0
    assert main(["play", str(path), "--import", TOY]) == 2
    assert "only rigid bodies can be recorded" in capfd.readouterr().err


def test_traffic_has_a_page_of_its_own(tmp_path, capfd):
    pytest.importorskip("diffsim_traffic")
    path = tmp_path / "run"
    options = ["--task-option", "episode_length=9", "--eval-episodes", "3", "--eval-every", "2", "--clips", "2"]
    assert main(["train", "gippo", "pace_car_2", *SMALL, *options, "--out", str(path)]) == 0
    assert main(["play", str(path), "--worlds", "2", "--episodes", "2", "--json"]) == 0
    said = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert said.items() >= {"task": "pace_car_2", "worlds": 2, "frames": 18}.items()
    page = (path / "play.html").read_text()
    assert all(f'"world {w}, episode {e}"' in page for w in range(2) for e in range(2))
    clip = (path / "clips" / "00000002.html").read_text()
    assert '"world 1"' in clip and "episode" not in clip
    assert main(["play", str(path), "--motion", str(tmp_path / "a.npz")]) == 2
    assert "only rigid bodies" in capfd.readouterr().err


CRITICS = {"shac": 0, "sapo": 0, "ppo": 0}


@pytest.mark.parametrize("name", CRITICS)
def test_values_are_the_critics(name):
    """After an update the value is that of the network in its units, worked out here layer by layer."""
    entry = get_algorithm(name)
    config = entry.config_class()(iterations=4, horizon=4, actor_hidden=(8,), critic_hidden=(8,))
    algorithm = entry.build(config)
    env = diffsim_core.make("cartpole", num_envs=4)
    state, _ = algorithm.update(algorithm.init(env, 0))
    _, obs = env.reset(5)
    value = algorithm.value(state)
    x = (obs - state.run.stats.mean) / (state.run.stats.var + 1e-5).sqrt() if config.normalize_obs else obs
    single = value.critic.mlp.num_params
    nets = [value.critic.mlp(value.critic.mlp.split(part), x.float())[:, 0] for part in state.critic.split(single)]
    expected = torch.stack(nets).mean(0)
    if name == "ppo" and config.normalize_value:
        expected = expected * (state.value_stats.var + 1e-5).sqrt() + state.value_stats.mean
    torch.testing.assert_close(value(obs), expected.float(), rtol=1e-4, atol=1e-4)
    assert not value(obs).requires_grad


def small_training(env, callbacks, **options):
    config = SHACConfig(iterations=4, horizon=4, actor_hidden=(8,), critic_hidden=(8,))
    evaluator = Evaluator(env=diffsim_core.make("ant", num_envs=3, episode_length=6), every=2, episodes=3)
    return train(get_algorithm("shac").build(config), env, callbacks=callbacks, evaluator=evaluator, **options)


def test_a_clip_of_every_evaluation(tmp_path):
    env = diffsim_core.make("ant", num_envs=2, episode_length=6)
    small_training(env, [Clips(tmp_path / "clips", worlds=2)])
    found = sorted(path.name for path in (tmp_path / "clips").iterdir())
    assert found == ["00000002.html", "00000004.html"]
    assert '"worlds":2' in (tmp_path / "clips" / "00000002.html").read_text()


def test_clips_from_the_command_line(tmp_path, capfd):
    path = tmp_path / "run"
    options = ["--task-option", "episode_length=6", "--eval-episodes", "2", "--eval-every", "1", "--out", str(path)]
    assert main(["train", "shac", "cartpole", *SMALL, *options, "--clips", "1", "--stop-after", "1"]) == 0
    assert main(["train", "--resume", str(path), "--clips"]) == 0
    found = sorted((path / "clips").iterdir())
    assert [(f.name, f'"worlds":{n}' in f.read_text()) for f, n in zip(found, (1, 2), strict=True)] == [
        ("00000001.html", True),
        ("00000002.html", True),
    ]
    assert main(["train", "shac", "cartpole", *SMALL, "--clips", "--out", str(tmp_path / "no")]) == 2
    assert "give --eval-every too" in capfd.readouterr().err


def test_a_world_that_is_over_stays():
    env = diffsim_core.make("ant", num_envs=2, episode_length=8)
    fall = torch.zeros(2, 8)
    found = evaluate(env, lambda obs: fall, episodes=2, seed=0, record=2)
    recording = found.recording
    assert recording is not None
    short = type(recording)(**{**vars(recording), "length": np.array([3, 8])})
    motion = Played(env, footage_of(short)).motion()
    np.testing.assert_array_equal(motion.position[2:, 0], np.broadcast_to(motion.position[2, 0], (6, 9, 3)))
    assert not np.array_equal(motion.position[2, 1], motion.position[3, 1])
    reward = motion.curves["reward"]
    assert np.isnan(reward[3:, 0]).all() and np.isfinite(reward[:3, 0]).all() and np.isfinite(reward[:, 1]).all()
    np.testing.assert_array_equal(reward[:3, 0], recording.reward[:3, 0])


def test_clips_that_cannot_be_are_refused_at_once(worlds, tmp_path):
    from diffrl_algos import UsageError

    with pytest.raises(UsageError, match="a clip has 0 worlds; give at least 1"):
        Clips(tmp_path, worlds=0)
    config = SHACConfig(iterations=1, horizon=4, actor_hidden=(8,), critic_hidden=(8,))
    with pytest.raises(UsageError, match="only rigid bodies"):
        train(get_algorithm("shac").build(config), worlds(), callbacks=[Clips(tmp_path / "clips")])
    assert not (tmp_path / "clips").exists()


def test_the_places_that_a_task_marks_are_shown(run, monkeypatch):
    played = play_run(run, worlds=2, episodes=1)
    goal = np.array([0.5, 0.0, 1.0])

    def markers(self, xp, physics, task):
        return {"goal": goal + 0 * physics.q[:, [0, 0, 0]]}

    monkeypatch.setattr(type(played.env.task), "markers", markers, raising=False)
    motion = played.motion()
    assert motion.bodies[-1] == "goal" and np.allclose(motion.position[..., -1, :], goal)
