"""Evaluation takes whole episodes, a fixed share from each world."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffrl_algos import evaluate


def push(obs):
    """Full force outwards: episodes end early, at times that differ."""
    return torch.where(obs[:, :1] >= 0, 1.0, -1.0)


def by_hand(env, policy, share, seed):
    """Episodes of each world, one world at a time."""
    returns, lengths = [], []
    for world in range(env.num_envs):
        state, obs = env.reset(seed)
        total, length, finished = 0.0, 0, 0
        while finished < share[world]:
            state, step = env.step(state, policy(obs))
            obs = step.obs
            total, length = total + float(step.reward[world]), length + 1
            if step.terminated[world] or step.truncated[world]:
                returns.append(total)
                lengths.append(length)
                total, length, finished = 0.0, 0, finished + 1
    return returns, lengths


@pytest.mark.parametrize("episodes", [1, 3, 4, 11])
def test_every_world_gives_its_share(worlds, episodes):
    env = worlds(num_envs=4, limit=1.2, horizon=30)
    share = [episodes // 4 + (world < episodes % 4) for world in range(4)]
    found = evaluate(env, push, episodes=episodes, seed=8)
    returns, lengths = by_hand(env, push, share, 8)
    assert len(found.returns) == episodes
    np.testing.assert_allclose(found.returns, returns, rtol=1e-6)
    assert found.lengths.tolist() == lengths and len(set(lengths)) > min(1, episodes - 1)
    assert found.return_mean == pytest.approx(np.mean(returns))
    assert found.return_std == pytest.approx(np.std(returns))
    assert found.length_mean == np.mean(lengths)
    assert found.to_json()["episodes"] == episodes and found.diverged == 0


def test_diverged_episodes_are_counted(worlds):
    env = worlds(num_envs=8, limit=100.0, horizon=20, breaks=1.1)
    found = evaluate(env, push, episodes=8, seed=0)
    right = (found.lengths < 20).sum()
    assert found.diverged == right > 0


def test_worlds_that_never_end_are_cut_at_the_horizon(worlds):
    env = worlds(num_envs=2, limit=100.0, horizon=7)
    found = evaluate(env, lambda obs: torch.zeros(2, 1), episodes=2, seed=0)
    assert found.lengths.tolist() == [7, 7] and found.env_steps == 14


def test_no_episodes_is_an_error(worlds):
    with pytest.raises(ValueError, match="episodes is 0"):
        evaluate(worlds(), push, episodes=0, seed=0)
    with pytest.raises(ValueError, match="record is -1"):
        evaluate(worlds(), push, episodes=1, seed=0, record=-1)


def test_a_recording_holds_what_the_first_worlds_did(worlds):
    env = worlds(num_envs=4, limit=1.2, horizon=30, breaks=1.1)
    found = evaluate(env, push, episodes=4, seed=8, record=3)
    plain = evaluate(env, push, episodes=4, seed=8)
    assert plain.recording is None and np.array_equal(found.returns, plain.returns)
    tape = found.recording
    assert tape is not None and (tape.task, tape.dt) == ("toy", 0.1) and tape.memory == ()
    assert tape.length.tolist() == found.lengths[:3].tolist() and len(tape.reward) == tape.length.max()
    rows = np.arange(len(tape.reward))[:, None] < tape.length
    np.testing.assert_allclose((tape.reward * rows).sum(0), found.returns[:3], rtol=1e-6)
    # Row t + 1 follows from row t, and the first from the seed; where the force was constant, so is v' = 2 a.
    assert np.array_equal(tape.physics.x[0], env.reset(8)[0].physics.x[:3].numpy())
    both = rows[1:] & rows[:-1]
    dv = (tape.physics.v[1:] - tape.physics.v[:-1])[..., 0][both]
    np.testing.assert_allclose(dv, 0.2 * tape.action[:-1, :, 0][both], rtol=1e-4)
    assert tape.diverged.any() and found.diverged >= tape.diverged.sum()


def test_a_recording_has_at_most_all_worlds(worlds):
    recording = evaluate(worlds(num_envs=2), push, episodes=1, seed=0, record=9).recording
    assert recording is not None and recording.reward.shape[1] == 2
