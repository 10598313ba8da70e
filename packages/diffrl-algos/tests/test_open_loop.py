"""TrajOpt and PODS: the gradient of an episode's actions, where it is cut, what is done with it; they learn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import PODSConfig, TrajOptConfig, evaluate, train
from diffrl_algos.torch import PODS, TrajOpt
from diffrl_algos.torch._open_loop import OpenLoopPolicy, first_episode, first_return
from diffrl_algos.torch._window import cut_every

from .toy import DT, GAIN, PointTask

SMALL = {"iterations": 10, "horizon": 8, "actor_hidden": (16, 8), "actor_iterations": 2}


class Displaced(PointTask):
    """Always starts at rest at x = 0.8, so that one sequence of actions is best in every world."""

    name = "displaced"

    def initial(self, xp, random):
        return (random.constant([0.8]), random.constant([0.0])), ()


def displaced(num_envs=3, horizon=12, dtype="float64", limit=10.0):
    return diffsim_core.TaskEnv(Displaced(dtype, limit, horizon, 1e6), num_envs, arrays="torch", dtype=dtype)


def play(env, actions, gamma=1.0, length=None, seed=3):
    """``[N]`` returns of open-loop actions ``[T, N, na]``."""
    state, obs = env.reset(seed)
    coming = iter(actions.unbind(0))
    cut = cut_every(len(actions) if length is None else length)
    window, _, _ = diffsim_core.rollout(env, lambda _: next(coming), state, obs, len(actions), between=cut)
    return first_return(window, gamma), window


def differences(function, actions, eps=1e-6):
    """Central differences of a scalar function of ``actions``."""
    found = torch.zeros_like(actions)
    for k in range(actions.numel()):
        step = torch.zeros_like(actions)
        step.view(-1)[k] = eps
        found.view(-1)[k] = (function(actions + step) - function(actions - step)) / (2 * eps)
    return found


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_gradient_of_an_episode_equals_differences(worlds, gamma):
    """Worlds end at different steps; what they do afterwards has no gradient."""
    env = worlds(num_envs=5, dtype="float64", limit=0.9, horizon=9)
    actions = 0.5 * torch.randn(12, 5, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leaf = actions.clone().requires_grad_()
    returns, window = play(env, leaf, gamma)
    (grad,) = torch.autograd.grad(returns.sum(), leaf)
    ended = window.done[:9].any(0)
    assert ended.all() and window.terminated.any() and (window.terminated[:9].long().argmax(0) > 0).any()
    torch.testing.assert_close(grad, differences(lambda a: play(env, a, gamma)[0].sum(), actions), rtol=1e-6, atol=1e-8)
    assert not grad[~first_episode(window)].any()


def test_first_episode_ends_with_the_step_that_is_done(worlds):
    env = worlds(num_envs=4, limit=50.0, horizon=3)
    _, window = play(env, torch.zeros(8, 4, 1))
    assert first_episode(window)[:, 0].tolist() == [True] * 3 + [False] * 5


def test_gradient_is_cut_between_windows():
    """Each action answers for the rewards of its own window of 5 alone."""
    env = displaced(horizon=12)
    actions = 0.3 * torch.randn(12, 3, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaf = actions.clone().requires_grad_()
    (grad,) = torch.autograd.grad(play(env, leaf, length=5)[0].sum(), leaf)
    for start in (0, 5, 10):
        steps = slice(start, start + 5)

        def of_window(part, steps=steps):
            return play(env, torch.cat([actions[: steps.start], part, actions[steps.stop :]]))[1].reward[steps].sum()

        torch.testing.assert_close(grad[steps], differences(of_window, actions[steps]), rtol=1e-6, atol=1e-8)


def best_actions(horizon):
    """The optimum of the displaced point mass without bounds: rewards are a quadratic form of the actions."""
    velocity = DT * GAIN * np.tril(np.ones((horizon, horizon)))
    position = DT * np.tril(np.ones((horizon, horizon))) @ velocity
    hessian = position.T @ position + 0.1 * velocity.T @ velocity + 0.01 * np.eye(horizon)
    return np.linalg.solve(hessian, -0.8 * position.T @ np.ones(horizon))


def test_trajopt_finds_the_optimum_of_a_linear_problem():
    env = displaced(num_envs=2, horizon=12)
    algorithm = TrajOpt(TrajOptConfig(iterations=250, horizon=12, action_lr=0.05, lr_schedule="linear", weight_decay=0))
    state = train(algorithm, env, seed=0).state
    best = np.clip(best_actions(12), -1, 1)
    assert abs(best_actions(12)).max() > 1  # the bound matters

    def value(actions):
        return evaluate(env, OpenLoopPolicy(torch.as_tensor(actions)), episodes=2, seed=5).return_mean

    found, nothing = value(state.actions), value(np.zeros((12, 1)))
    assert found >= value(best[:, None]) - 1e-3
    assert found > nothing + 1.0
    inside = abs(state.actions[:, 0].numpy()) < 0.99
    # Where the bound holds the first actions, the others are the best for what they lead to.
    position = DT * np.tril(np.ones((12, 12))) @ (DT * GAIN * np.tril(np.ones((12, 12))))
    velocity = DT * GAIN * np.tril(np.ones((12, 12)))
    a = state.actions[:, 0].numpy()
    slope = 2 * (position.T @ (0.8 + position @ a) + 0.1 * velocity.T @ (velocity @ a) + 0.01 * a)
    np.testing.assert_allclose(slope[inside], 0, atol=2e-2)
    assert (slope[~inside] * a[~inside] < 0).all()


def test_trajopts_actions_begin_at_zero_and_stay_in_bounds(worlds):
    algorithm = TrajOpt(TrajOptConfig(iterations=30, action_lr=0.5))
    env = worlds(num_envs=4, limit=9.0, horizon=10)
    state = algorithm.init(env, 0)
    assert state.actions.shape == (10, 1) and not state.actions.any()
    state = train(algorithm, env, state=state).state
    assert state.actions.abs().max() <= 1 and state.actions.any()


def test_every_update_plays_other_starts(worlds):
    algorithm = TrajOpt(TrajOptConfig(iterations=3, action_lr=1e-9))
    state = algorithm.init(worlds(num_envs=4, limit=9.0, horizon=6), 0)
    returns = []
    for _ in range(3):
        state, metrics = algorithm.update(state)
        returns.append(metrics["actor_loss"])
        assert metrics["alive"] == 1.0
    assert len(set(returns)) == 3 and state.env_steps == 3 * 6 * 4


def test_open_loop_policies_follow_each_worlds_episode(worlds):
    """A world that ended early begins again with the first action; evaluation says so to the policy."""
    env = worlds(num_envs=6, limit=0.9, horizon=7)
    actions = torch.linspace(-1.0, 1.0, 7)[:, None]
    found = evaluate(env, OpenLoopPolicy(actions), episodes=18, seed=4)
    expected = []
    state, _ = env.reset(4)
    t, running, finished = torch.zeros(6, dtype=torch.long), torch.zeros(6), [[] for _ in range(6)]
    while min(map(len, finished)) < 3:
        state, step = env.step(state, actions[t])
        running, t = running + step.reward, t + 1
        for world in torch.nonzero(step.terminated | step.truncated).flatten().tolist():
            finished[world].append(float(running[world]))
            running[world], t[world] = 0.0, 0
    expected = [value for world in finished for value in world[:3]]
    np.testing.assert_allclose(found.returns, expected, rtol=1e-5)
    assert len(set(found.lengths.tolist())) > 1


def test_open_loop_policies_begin_again():
    policy = OpenLoopPolicy(torch.arange(3.0)[:, None])
    obs = torch.zeros(2, 5)
    assert [policy(obs)[0].item() for _ in range(4)] == [0, 1, 2, 0]
    policy.restart(torch.tensor([True, False]))
    assert policy(obs).flatten().tolist() == [0, 1]
    policy.restart(None)
    assert policy(torch.zeros(4, 5)).flatten().tolist() == [0] * 4


def pods_and_window(env, config, seed=2):
    algorithm = PODS(config)
    state = algorithm.init(env, seed)
    policy = algorithm.policy(state)
    window, _, _ = diffsim_core.rollout(env, policy, state.run.env_state, state.run.obs, config.horizon)
    leaf = window.action.clone().requires_grad_()
    coming = iter(leaf.unbind(0))
    played, _, _ = diffsim_core.rollout(env, lambda _: next(coming), state.run.env_state, state.run.obs, config.horizon)
    returns = first_return(played, config.gamma)
    (grad,) = torch.autograd.grad(returns.sum(), leaf)
    return algorithm, state, window, grad, returns.detach()


def test_line_search_takes_the_largest_step_that_improves(worlds):
    """Every size, tried on every rollout one by one."""
    config = PODSConfig(**SMALL, step_size=4.0, line_search=5)
    env = worlds(num_envs=12, dtype="float64", limit=0.9, horizon=6)
    algorithm, state, window, grad, returns = pods_and_window(env, config)
    improved, gain, trials = algorithm._improve(state.run, window, grad, returns)
    size = grad.square().mean((0, 2)).sqrt()
    sizes, best, won = [4.0 * 0.5**k for k in range(5)], window.action.clone(), torch.zeros(12, dtype=torch.float64)
    taken = []
    for i in range(12):
        for k, step in enumerate(sizes):
            tried = window.action.clone()
            tried[:, i] = (tried[:, i] + step * grad[:, i] / size[i]).clamp(-1, 1)
            coming = iter(tried.unbind(0))
            out, _, _ = diffsim_core.rollout(env, lambda _, c=coming: next(c), state.run.env_state, state.run.obs, 8)
            if (gained := first_return(out, config.gamma)[i] - returns[i]) > 0:
                best[:, i], won[i] = tried[:, i], gained
                taken.append(k)
                break
    assert len(set(taken)) > 1
    torch.testing.assert_close(improved, best)
    torch.testing.assert_close(gain, won)
    assert trials == (max(taken) + 1 if (won > 0).all() else 5)


def test_without_a_line_search_the_step_is_taken_as_it_is(worlds):
    config = PODSConfig(**SMALL, step_size=0.05, line_search=0)
    env = worlds(num_envs=6, dtype="float64", limit=5.0, horizon=30)
    algorithm, state, window, grad, returns = pods_and_window(env, config)
    improved, _, trials = algorithm._improve(state.run, window, grad, returns)
    moved = improved - window.action
    assert trials == 0 and (improved.abs() < 1).all()
    torch.testing.assert_close(moved.square().mean((0, 2)).sqrt(), torch.full((6,), 0.05, dtype=torch.float64))
    parallel = torch.nn.functional.cosine_similarity(moved[..., 0], grad[..., 0], dim=0)
    torch.testing.assert_close(parallel, torch.ones(6, dtype=torch.float64))


def test_imitation_is_a_regression_on_the_steps_that_count(worlds):
    """One update against torch's optimiser in a loop, with the same pieces."""
    config = PODSConfig(**SMALL, actor_minibatches=3, line_search=2, normalize_obs=False, lr_schedule="constant")
    env = worlds(num_envs=7, dtype="float64", limit=0.9, horizon=5)
    algorithm = PODS(config)
    state = algorithm.init(env, 2)
    generator = torch.Generator()
    generator.set_state(state.run.rng)
    new, metrics = algorithm.update(state)
    started = state.replace(run=state.run._replace(env_state=None))
    seed = int(torch.randint(2**31, (), generator=generator))
    env_state, obs = env.reset(seed)
    started = state.replace(run=state.run._replace(env_state=env_state, obs=obs))
    window, _, _ = diffsim_core.rollout(env, algorithm.policy(state), env_state, obs, 8)
    leaf = window.action.clone().requires_grad_()
    coming = iter(leaf.unbind(0))
    played, _, _ = diffsim_core.rollout(env, lambda _: next(coming), env_state, obs, 8)
    returns = first_return(played, config.gamma)
    (grad,) = torch.autograd.grad(returns.sum(), leaf)
    target, _, _ = algorithm._improve(started.run, window, grad, returns.detach())
    rows = [(window.obs[t, i], target[t, i]) for t in range(8) for i in range(7) if not window.done[:t, i].any()]
    x, y = (torch.stack(part) for part in zip(*rows, strict=True))
    assert 0 < len(x) < 8 * 7
    params = state.actor.clone().requires_grad_()
    optimiser = torch.optim.Adam([params], lr=config.actor_lr, betas=config.betas)
    mlp = algorithm.policy(state).mlp
    for _ in range(2):
        order = torch.randperm(len(x), generator=generator)
        for rows in order.split(-(-len(x) // 3)):
            optimiser.zero_grad()
            loss = ((torch.tanh(mlp(mlp.split(params), x[rows])) - y[rows]) ** 2).sum(-1).mean() / 2
            loss.backward()
            torch.nn.utils.clip_grad_norm_([params], 1.0)
            optimiser.step()
    torch.testing.assert_close(new.actor, params.detach(), rtol=1e-8, atol=1e-9)
    assert metrics["actor_loss"] == pytest.approx(loss.item(), rel=1e-9)


def test_pods_learns_to_control_a_point_mass(worlds):
    config = PODSConfig(iterations=40, horizon=40, actor_hidden=(32,), actor_lr=1e-2, actor_iterations=4)
    env = worlds(num_envs=16, limit=10.0, horizon=40)
    algorithm = PODS(config)
    start = algorithm.init(env, 0)
    result = train(algorithm, env, state=start)
    untrained = evaluate(env, algorithm.policy(start), episodes=32, seed=99).return_mean
    trained = evaluate(env, algorithm.policy(result.state), episodes=32, seed=99).return_mean
    assert untrained < 0.0 < 36.0 < trained < 40.0


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (TrajOptConfig, {"action_lr": 0.0}),
        (TrajOptConfig, {"weight_decay": -1.0}),
        (PODSConfig, {"step_size": 0.0}),
        (PODSConfig, {"line_search": -1}),
        (PODSConfig, {"actor_iterations": 0}),
    ],
)
def test_values_out_of_range_are_named(config, wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        dataclasses.replace(config(), **wrong)
