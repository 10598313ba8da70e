"""SAC and TD3: an update once more, slowly; warm-up, delay and limits; runs that go on; they learn."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from diffrl_algos import SACConfig, TD3Config, evaluate, train
from diffrl_algos.cli import main
from diffrl_algos.torch import SAC, TD3

SMALL = {
    "iterations": 10,
    "horizon": 8,
    "actor_hidden": (16, 8),
    "critic_hidden": (12,),
    "batch_size": 16,
    "updates": 3,
    "warmup_steps": 0,
    "actor_lr": 2e-3,
    "critic_lr": 3e-3,
}
BOTH = [(SAC, SACConfig), (TD3, TD3Config)]


def run(algorithm, state, updates):
    metrics = []
    for _ in range(updates):
        state, figures = algorithm.update(state)
        metrics.append(figures)
    return state, metrics


class Twin:
    """Networks of torch's own modules and optimisers that start where a state's flat tensors are."""

    def __init__(self, c, state):
        self.c, self.state = c, state
        self.actor = self.net(state.actor, (2, *c.actor_hidden, 2 if isinstance(c, SACConfig) else 1))
        self.critics = [self.net(part, (3, *c.critic_hidden, 1)) for part in state.critic.view(2, -1)]
        self.targets = [self.net(part, (3, *c.critic_hidden, 1)) for part in state.target.view(2, -1)]
        self.actor_adam = self.adamw([self.actor], state.actor_adam, c.actor_lr)
        self.critic_adam = self.adamw(self.critics, state.critic_adam, c.critic_lr)
        policy_shift, policy_scale, _ = state.run.stats.normalizer(torch.float64)
        self.norm = lambda obs: policy_shift + policy_scale * obs

    @staticmethod
    def net(flat, sizes):
        layers = []
        for n_in, n_out in pairwise(sizes):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.SiLU(), torch.nn.LayerNorm(n_out)]
        net = torch.nn.Sequential(*layers[:-2]).double()
        torch.nn.utils.vector_to_parameters(flat.clone(), net.parameters())
        return net

    def adamw(self, nets, moments, lr, decay=None):
        params = [p for net in nets for p in net.parameters()] if isinstance(nets, list) else [nets]
        decay = self.c.weight_decay if decay is None else decay
        optimiser, first = torch.optim.AdamW(params, lr=lr, betas=self.c.betas, weight_decay=decay), 0
        for p in params:
            m, v = (x[first : first + p.numel()].view_as(p).clone() for x in (moments.m, moments.v))
            optimiser.state[p] = {"step": torch.tensor(float(moments.step)), "exp_avg": m, "exp_avg_sq": v}
            first += p.numel()
        return optimiser

    def step(self, optimiser, loss):
        params = optimiser.param_groups[0]["params"]
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, self.c.max_grad_norm)
        optimiser.step()

    def q(self, nets, x, a):
        return torch.stack([net(torch.cat([x, a], -1))[:, 0] for net in nets])

    def follow(self, nets, targets):
        with torch.no_grad():
            for net, target in zip(nets, targets, strict=True):
                for p, t in zip(net.parameters(), target.parameters(), strict=True):
                    t.copy_((1 - self.c.target_alpha) * p + self.c.target_alpha * t)

    def fit(self, batch, y):
        errors = self.q(self.critics, self.norm(batch.obs), batch.action) - y
        self.step(self.critic_adam, errors.square().mean(1).sum())
        return errors.detach().square().mean()


def flat(*nets):
    return torch.cat([torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets])


def numbers_of(state, window_shape, warm):
    """The generator of an update, past what the window drew from it."""
    generator = torch.Generator()
    generator.set_state(state.run.rng)
    torch.randn(window_shape, generator=generator, dtype=torch.float64)
    if warm:
        torch.rand(window_shape, generator=generator, dtype=torch.float64)
    return generator


@pytest.mark.parametrize("auto", [True, False])
def test_an_update_of_sac_is_the_papers(worlds, auto):
    """Eq. 5 to 9 and 18 with torch's modules, optimisers and distributions; the same parameters after three steps."""
    c = SACConfig(**SMALL, auto_temperature=auto, temperature_init=0.7)
    algorithm = SAC(c)
    state, _ = run(algorithm, algorithm.init(worlds(dtype="float64"), 2), 2)
    new, metrics = algorithm.update(state)
    generator = numbers_of(state, (8, 6, 1), False)
    twin = Twin(c, state)
    log_alpha = state.log_temperature.clone().requires_grad_()
    alpha_adam = twin.adamw(log_alpha, state.temperature_adam, c.temperature_lr, 0.0)
    temperatures, entropies, losses, values = [], [], [], []

    def sample(obs, eps):
        mean, logstd = twin.actor(twin.norm(obs)).chunk(2, -1)
        normal = torch.distributions.Normal(mean, logstd.clamp(-5, 2).exp())
        tanh = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform(cache_size=1))
        u = mean + normal.stddev * eps
        a = torch.tanh(u)
        return a, (normal.log_prob(u) - torch.log1p(-a.square())).sum(-1), tanh

    for _ in range(c.updates):
        batch = new.replay.sample(generator, c.batch_size, gamma=c.gamma, n=c.n_step)
        eps, eps_next = torch.randn(2, 16, 1, generator=generator, dtype=torch.float64)
        alpha = log_alpha.detach().exp().item()
        with torch.no_grad():
            a, log_pi, tanh = sample(batch.final_obs, eps_next)
            torch.testing.assert_close(log_pi, tanh.log_prob(a).sum(-1), rtol=1e-6, atol=1e-6)
            soft = twin.q(twin.targets, twin.norm(batch.final_obs), a).min(0).values - alpha * log_pi
            y = batch.reward + batch.discount * soft
        losses.append(twin.fit(batch, y))
        a, log_pi, _ = sample(batch.obs, eps)
        twin.step(
            twin.actor_adam, (alpha * log_pi - twin.q(twin.critics, twin.norm(batch.obs), a).min(0).values).mean()
        )
        if auto:
            twin.step(alpha_adam, (-log_alpha.exp() * (log_pi.detach() - 0.5)).mean())
        twin.follow(twin.critics, twin.targets)
        temperatures.append(alpha)
        entropies.append(-log_pi.mean().item())
        values.append(y.mean().item())
    close = {"rtol": 1e-8, "atol": 1e-10}
    torch.testing.assert_close(new.actor, flat(twin.actor), **close)
    torch.testing.assert_close(new.critic, flat(*twin.critics), **close)
    torch.testing.assert_close(new.target, flat(*twin.targets), **close)
    torch.testing.assert_close(new.log_temperature, log_alpha.detach(), **close)
    assert torch.equal(new.log_temperature, state.log_temperature) != auto
    assert metrics["temperature"] == pytest.approx(np.mean(temperatures), rel=1e-9)
    assert metrics["entropy"] == pytest.approx(np.mean(entropies), rel=1e-9)
    assert metrics["critic_loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)
    assert metrics["value_mean"] == pytest.approx(np.mean(values), rel=1e-9)


def test_an_update_of_td3_is_the_papers(worlds):
    """Algorithm 1 with torch's modules and optimisers: clipped double Q, smoothed targets, every second step."""
    c = TD3Config(**SMALL, target_noise=0.6)
    algorithm = TD3(c)
    state, _ = run(algorithm, algorithm.init(worlds(dtype="float64"), 2), 1)
    assert state.gradient_steps == 3
    new, metrics = algorithm.update(state)
    generator = numbers_of(state, (8, 6, 1), False)
    twin = Twin(c, state)
    target_actor = twin.net(state.target_actor, (2, *c.actor_hidden, 1))
    losses, clipped = [], False
    for step in range(4, 7):
        batch = new.replay.sample(generator, c.batch_size, gamma=c.gamma, n=c.n_step)
        noise = 0.6 * torch.randn(16, 1, generator=generator, dtype=torch.float64)
        clipped |= bool((noise.abs() > 0.5).any())
        with torch.no_grad():
            a = torch.tanh(target_actor(twin.norm(batch.final_obs))) + noise.clamp(-0.5, 0.5)
            q = twin.q(twin.targets, twin.norm(batch.final_obs), a.clamp(-1, 1))
            y = batch.reward + batch.discount * torch.minimum(q[0], q[1])
        twin.fit(batch, y)
        if step % 2 == 0:
            a = torch.tanh(twin.actor(twin.norm(batch.obs)))
            loss = -twin.q(twin.critics, twin.norm(batch.obs), a)[0].mean()
            twin.step(twin.actor_adam, loss)
            twin.follow(twin.critics, twin.targets)
            twin.follow([twin.actor], [target_actor])
            losses.append(loss.item())
    assert clipped and new.gradient_steps == 6 and len(losses) == 2
    close = {"rtol": 1e-8, "atol": 1e-10}
    torch.testing.assert_close(new.actor, flat(twin.actor), **close)
    torch.testing.assert_close(new.target_actor, flat(target_actor), **close)
    torch.testing.assert_close(new.critic, flat(*twin.critics), **close)
    torch.testing.assert_close(new.target, flat(*twin.targets), **close)
    assert metrics["actor_loss"] == pytest.approx(np.mean(losses), rel=1e-9)


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_the_buffer_holds_what_happened(worlds, make, config):
    """Observations before any reset, ends as the worlds tell them, and nothing of the environment's graph."""
    env, seen = worlds(num_envs=4, breaks=0.6), []

    class Watched:
        spec, num_envs = dataclasses.replace(env.spec, differentiable=False), env.num_envs

        def reset(self, seed):
            return env.reset(seed)

        def step(self, state, action):
            state, step = env.step(state, action)
            assert not action.requires_grad and not step.reward.requires_grad
            seen.append((action, step))
            return state, step

    algorithm = make(config(**SMALL))
    state, metrics = run(algorithm, algorithm.init(Watched(), 0), 2)
    rows = state.replay.to_arrays()
    assert metrics[-1]["replay_steps"] == 2 * 8 * 4 == rows["rows.reward"].size and state.run.diverged > 0
    for name in ("final_obs", "terminated", "diverged", "reward"):
        np.testing.assert_array_equal(rows[f"rows.{name}"], torch.stack([getattr(s, name) for _, s in seen]).numpy())
    np.testing.assert_array_equal(rows["rows.done"], torch.stack([s.terminated | s.truncated for _, s in seen]).numpy())
    np.testing.assert_array_equal(rows["rows.obs"][1:], torch.stack([s.obs for _, s in seen]).numpy()[:-1])
    assert rows["rows.done"].any() and not rows["rows.done"].all()


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_random_actions_first_then_the_policys(worlds, make, config):
    algorithm = make(config(**{**SMALL, "warmup_steps": 12}))
    start = algorithm.init(worlds(num_envs=64), 0)
    state, metrics = run(algorithm, start, 2)
    actions = state.replay.to_arrays()["rows.action"]
    assert abs(actions.mean()) < 0.05 and actions.var() == pytest.approx(1 / 3, rel=0.06)
    # The second window is random too, and the first that is learned from, as it ends after 12 steps.
    assert metrics[0]["actor_loss"] is None and torch.equal(start.actor, run(algorithm, start, 1)[0].actor)
    assert metrics[1]["actor_loss"] is not None and not torch.equal(start.actor, state.actor)
    state, _ = algorithm.update(state)
    assert state.replay.to_arrays()["rows.action"][16:].var() != pytest.approx(1 / 3, rel=0.06)


def test_td3_explores_with_noise_after_tanh(worlds):
    algorithm = TD3(TD3Config(**SMALL, exploration_noise=0.3))
    state = algorithm.init(worlds(), 0)
    mean = algorithm.policy(state)
    one, same, other = (algorithm.policy(state, deterministic=False, seed=s)(state.run.obs) for s in (1, 1, 2))
    assert (
        torch.equal(one, same) and not torch.equal(one, other) and torch.equal(mean(state.run.obs), mean(state.run.obs))
    )
    net = mean.mlp
    x = mean.normalize(state.run.obs)
    torch.testing.assert_close(mean(state.run.obs), torch.tanh(net(net.split(state.actor), x)))
    wide = torch.zeros(20_000, 2)
    noise = algorithm.policy(state, deterministic=False)(wide) - mean(wide)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    wild = TD3(TD3Config(**SMALL, exploration_noise=5.0)).policy(state, deterministic=False)(wide)
    assert wild.abs().max() == 1.0
    window = algorithm.update(state)[0].replay.to_arrays()["rows.action"][0, :, 0]
    assert not np.allclose(window, mean(state.run.obs)[:, 0].numpy(), atol=0.01)


def test_a_gradient_step_that_is_not_the_actors_reports_no_actor(worlds):
    algorithm = TD3(TD3Config(**{**SMALL, "updates": 1, "policy_delay": 3}))
    start = algorithm.init(worlds(), 0)
    state, metrics = run(algorithm, start, 3)
    assert [m["actor_loss"] is None for m in metrics] == [True, True, False]
    assert all(m["critic_loss"] is not None for m in metrics) and not torch.equal(state.target, start.target)


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_a_refused_window_is_not_remembered_and_not_read_across(worlds, make, config):
    env, steps = worlds(limit=100.0, horizon=1000), []

    class Poisoned:
        spec, num_envs = env.spec, env.num_envs

        def reset(self, seed):
            return env.reset(seed)

        def step(self, state, action):
            state, step = env.step(state, action)
            steps.append(step)
            return state, step._replace(reward=step.reward * (torch.nan if len(steps) == 12 else 1.0))

    algorithm = make(config(**SMALL))
    state, metrics = run(algorithm, algorithm.init(Poisoned(), 0), 3)
    rows = state.replay.to_arrays()
    assert state.run.refused == 1 and metrics[1]["actor_loss"] is None and state.replay.count == 16
    assert np.isfinite(rows["rows.reward"]).all()
    np.testing.assert_array_equal(rows["rows.apart"].any(1), np.arange(16) == 8)


@pytest.mark.parametrize(("make", "config"), BOTH)
@pytest.mark.parametrize("change", [{"activation": "relu", "layer_norm": False}, {"n_step": 1}, {"num_critics": 1}])
def test_switches(worlds, make, config, change):
    whole, other = make(config(**SMALL)), make(config(**{**SMALL, **change}))
    a, _ = run(whole, whole.init(worlds(), 0), 2)
    b, _ = run(other, other.init(worlds(), 0), 2)
    assert a.critic.shape != b.critic.shape or not torch.equal(a.critic, b.critic)


@pytest.mark.parametrize(("make", "config"), BOTH)
@pytest.mark.parametrize("wrong", [{"n_step": 0}, {"batch_size": 0}, {"target_alpha": 1.5}, {"replay_size": -1}])
def test_values_out_of_range_are_named(make, config, wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        config(**wrong)


@pytest.mark.parametrize("algo", ["sac", "td3"])
def test_three_and_three_are_six_on_disk(algo, tmp_path, capfd):
    """With more steps than the buffer keeps; a checkpoint before the last can be evaluated, and resuming says no."""

    def diffrl(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, capfd.readouterr()

    small = ["--horizon", 4, "--actor-hidden", 8, "--critic-hidden", 8, "--batch-size", 8, "--replay-size", 40]
    small += ["--warmup-steps", 4, "--num-envs", 4, "--task-option", "horizon=6", "--eval-episodes", 4]
    train = ["train", algo, "toy", *small, "--iterations", 6, "--checkpoint-every", 1, "--keep-checkpoints", 9]
    assert diffrl(*train, "--out", tmp_path / "whole")[0] == 0
    assert diffrl(*train, "--out", tmp_path / "parts", "--stop-after", 3)[0] == 0
    code, out = diffrl("train", "--resume", tmp_path / "parts", "--json")
    assert code == 0 and json.loads(out.out)["status"] == "finished"

    def files(run):
        return {p.name: p.read_bytes() for p in sorted((run / "checkpoints" / "replay").glob("*.safetensors"))}

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    last = [(r / "checkpoints" / "00000006.safetensors").read_bytes() for r in (whole, parts)]
    assert last[0] == last[1]
    # 40 steps over 4 worlds are 10 of each; of 24 the buffer has the last 10, in the pieces that end after step 14.
    assert files(whole) == files(parts) and list(files(whole)) == [
        "00000016.safetensors",
        "00000020.safetensors",
        "00000024.safetensors",
    ]
    assert diffrl("eval", whole, "--checkpoint", 2, "--episodes", 4)[0] == 0
    (whole / "summary.json").unlink()
    for name in ("00000003", "00000004", "00000005", "00000006"):
        (whole / "checkpoints" / f"{name}.json").unlink()
    code, out = diffrl("train", "--resume", whole)
    assert (
        code != 0
        and "lacks steps of the replay buffer at iteration 2; this checkpoint can be evaluated, but not resumed from"
        in out.err
    )


@pytest.mark.parametrize(("make", "config"), BOTH)
def test_learns_to_control_a_point_mass(worlds, make, config):
    c = config(
        iterations=60,
        horizon=8,
        actor_hidden=(32,),
        critic_hidden=(32,),
        actor_lr=3e-3,
        critic_lr=3e-3,
        batch_size=128,
        updates=16,
        warmup_steps=8,
        gamma=0.95,
        target_alpha=0.98,
        **({"temperature_lr": 2e-2} if config is SACConfig else {}),
    )
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    algorithm = make(c)
    start = algorithm.init(env, 0)
    result = train(algorithm, env, state=start)
    untrained = evaluate(env, algorithm.policy(start), episodes=32, seed=99).return_mean
    trained = evaluate(env, algorithm.policy(result.state), episodes=32, seed=99).return_mean
    assert untrained < 20.0 < 36.0 < trained < 40.0
