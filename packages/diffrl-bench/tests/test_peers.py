"""The comparison with Stable-Baselines3: the same networks and worlds on both sides, and statistics that are right."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import get_algorithm
from diffrl_bench._peers import (
    ALGORITHMS,
    PeersBench,
    bench_peers,
    bootstrap_interval,
    compare,
    config_of,
    peers_text,
    permutation_test,
)

pytest.importorskip("stable_baselines3")
sb3 = pytest.importorskip("diffrl_bench._sb3")


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_both_sides_begin_with_the_same_policy_and_values(algo: str) -> None:
    env = diffsim_core.make("cartpole", num_envs=8, threads=1)
    config = config_of(algo, 2)
    algorithm: Any = get_algorithm(algo).build(config)
    state = algorithm.init(env, 3)
    # With our seed torch would draw the same weights there.
    theirs = sb3.model(algo, config, env, 9)
    before = sb3.policy_of(algo, theirs)(state.run.obs)
    sb3.copy_weights(algo, theirs, state)
    mine = algorithm.policy(state)(state.run.obs)
    after = sb3.policy_of(algo, theirs)(state.run.obs)
    torch.testing.assert_close(after, mine, rtol=0, atol=1e-6)
    assert not torch.allclose(before, mine, atol=1e-3)
    x = torch.cat([state.run.obs, mine], 1)
    if algo == "ppo":
        values = algorithm.critic(env)(state.critic, state.run.obs)
        found = [theirs.policy.predict_values(state.run.obs)[:, 0]]
        assert torch.equal(theirs.policy.log_std, state.actor[-1:])
    else:
        values = algorithm.critic(env)(state.critic, x)
        for critic in (theirs.policy.critic, theirs.policy.critic_target):
            found = [q[:, 0] for q in critic(state.run.obs, mine)]
            torch.testing.assert_close(torch.stack(found), values, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.stack(found), values, rtol=1e-5, atol=1e-6)


def test_the_spread_of_sacs_policy_is_copied_too() -> None:
    env = diffsim_core.make("cartpole", num_envs=8, threads=1)
    config = config_of("sac", 2)
    algorithm: Any = get_algorithm("sac").build(config)
    state = algorithm.init(env, 0)
    theirs = sb3.model("sac", config, env, 9)
    sb3.copy_weights("sac", theirs, state)
    actor = algorithm.policy(state).actor
    ours = actor(actor.split(state.actor), state.run.obs)
    mean, logstd, _ = theirs.policy.actor.get_action_dist_params(state.run.obs)
    torch.testing.assert_close(mean, ours.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logstd, ours.logstd, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("squash", [False, True])
def test_the_worlds_are_ours_with_ends_told_apart(squash: bool) -> None:
    env = diffsim_core.make("hopper", num_envs=4, threads=1, episode_length=7)
    worlds = sb3.Worlds(env, 5, squash=squash)
    state, obs = env.reset(5)
    np.testing.assert_array_equal(worlds.reset(), obs.numpy())
    rng, limits, falls = np.random.default_rng(0), 0, 0
    for k in range(40):
        # Pushing one way makes some fall before the limit.
        action = np.full((4, 3), -3.0) if k % 14 > 6 else rng.normal(size=(4, 3))
        given = torch.from_numpy(action.astype(np.float32))
        state, step = env.step(state, torch.tanh(given) if squash else given)
        seen, reward, done, infos = worlds.step(action)
        np.testing.assert_array_equal(seen, step.obs.numpy())
        np.testing.assert_array_equal(reward, step.reward.numpy())
        np.testing.assert_array_equal(done, (step.terminated | step.truncated).numpy())
        for world in range(4):
            assert ("terminal_observation" in infos[world]) == done[world]
            if done[world]:
                np.testing.assert_array_equal(infos[world]["terminal_observation"], step.final_obs[world].numpy())
                assert infos[world]["TimeLimit.truncated"] == bool(step.truncated[world])
                limits += bool(step.truncated[world])
                falls += bool(step.terminated[world])
    assert limits > 0 and limits + falls >= 20


def test_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Small, but whole: both sides train and are evaluated."""
    said: list[str] = []
    report = bench_peers(PeersBench(seeds=2, iterations=2, num_envs=8, episodes=8), said.append)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert len(said) == len(report["rows"]) == 12
    assert all(row["env_steps"] == 2 * 32 * 8 and row["steps_per_s"] > 0 for row in report["rows"])
    assert all(np.isfinite(row["return_mean"]) for row in report["rows"])
    text = peers_text(report)
    assert all(algo in text for algo in ALGORITHMS) and "Stable-Baselines3" in text


def test_the_permutation_test_counts_splits() -> None:
    assert permutation_test([1.0, 2.0], [3.0, 4.0]) == 2 / 6
    assert permutation_test([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]) == 1.0
    assert permutation_test([0.0] * 5, [1.0] * 5) == 2 / 252
    # Under the null every p-value is as likely as it says.
    rng = np.random.default_rng(0)
    found = [permutation_test(*rng.normal(size=(2, 4))) for _ in range(400)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_the_interval_holds_the_difference() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(3.0, 1.0, 50), rng.normal(1.0, 1.0, 50)
    low, high = bootstrap_interval(list(a), list(b))
    assert low < 2.0 < high and high - low == pytest.approx(2 * 1.96 * np.sqrt(2 / 50), rel=0.25)


def test_two_sides_that_differ_are_told_apart() -> None:
    rows = [
        {"algo": "ppo", "side": side, "seed": seed, "return_mean": base + seed, "steps_per_s": 10.0 * (seed + 1)}
        for (side, base), seed in itertools.product((("ours", 0.0), ("stable-baselines3", 100.0)), range(5))
    ]
    found = compare("ppo", rows)
    assert not found["same"] and found["p"] == 2 / 252 and found["difference"] == -100.0
    assert found["ours"] == {"mean": 2.0, "std": pytest.approx(2.5**0.5), "min": 0.0, "max": 4.0, "steps_per_s": 30.0}


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="seeds is 1; it must be at least 2"):
        PeersBench(seeds=1)
    with pytest.raises(ValueError, match="'shac' has no counterpart; choose from ppo, sac, td3"):
        PeersBench(algos=["shac"])
