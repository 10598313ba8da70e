"""AGPO: an update once more, slowly; what its ratio and gates do; the readings of the paper that are switches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffrl_algos import AGPOConfig
from diffrl_algos.torch import AGPO
from diffrl_algos.torch._distributions import Gaussian

from .learning import before_and_after
from .test_family import Poisoned

SMALL = {
    "iterations": 10,
    "horizon": 8,
    "actor_hidden": (16, 8),
    "critic_hidden": (12,),
    "critic_iterations": 1,
    "critic_minibatches": 1,
    "critic_shuffle": False,
}


def run(algorithm, state, updates):
    metrics = []
    for _ in range(updates):
        state, figures = algorithm.update(state)
        metrics.append(figures)
    return state, metrics


def ratio_of(first, zeroth, going_on):
    """Eq. 3 for one step, world by world: variances of the norms in units of their median."""
    variances = []
    for gradients in (zeroth, first):
        norms = [math.sqrt(sum(float(x) ** 2 for x in g)) for g, on in zip(gradients, going_on, strict=True) if on]
        if len(norms) < 2:
            return 0.0
        scaled = np.asarray(norms) / (np.median(norms) + 1e-8)
        variances.append(scaled.var(ddof=1))
    return variances[0] / (variances[0] + variances[1])


class Twin:
    """Policy and Q functions of an update of six worlds in float64, without the library's networks and roll-out."""

    def __init__(self, algorithm, state):
        self.c, self.env, self.state, self.policy = algorithm.config, state.env, state, algorithm.policy(state)
        generator = torch.Generator()
        generator.set_state(state.run.rng)
        self.eps, self.fresh = torch.randn(2, self.c.horizon, 6, 1, generator=generator, dtype=torch.float64)
        self.actor = state.actor.clone().requires_grad_()

    def pi(self, flat, obs):
        mlp = self.policy.actor.mlp
        mean, logstd = mlp(mlp.split(flat), self.policy.normalize(obs)).chunk(2, -1)
        return Gaussian(mean, logstd.clamp(-5, 2))

    def act(self, flat, obs, noise):
        g = self.pi(flat, obs)
        return torch.tanh(g.mean + noise * g.logstd.exp())

    def q(self, flat, obs, action):
        x = torch.cat([self.policy.normalize(obs), action], -1)
        both = []
        for part in flat.view(2, -1):
            w, b, scale, shift, v, d = part.split([36, 12, 12, 12, 12, 1])
            h = torch.nn.functional.layer_norm(torch.nn.functional.elu(x @ w.view(12, 3).T + b), (12,), scale, shift)
            both.append(h @ v + d)
        return torch.stack(both)

    def least(self, obs, action):
        return self.q(self.state.target, obs, action).min(0).values

    def step(self, env_state, obs, action, t, later):
        """Q, reward, the value that follows with the next action of ``later``, and the transition."""
        env_state, step = self.env.step(env_state, action)
        follows = self.least(step.final_obs, self.act(later, step.final_obs, self.fresh[t]))
        return self.least(obs, action), 0.1 * step.reward, follows, env_state, step

    def alone(self, env_state, obs, t):
        """The ratio of step ``t``: nothing before it has a graph."""
        a = self.act(self.actor, obs.detach(), self.eps[t]).detach().requires_grad_()
        value, reward, follows, _, step = self.step(cut(env_state), obs.detach(), a, t, self.actor)
        simulated = reward + self.c.gamma * torch.where(step.terminated, 0.0, follows)
        (first,) = torch.autograd.grad(simulated.sum(), a)
        (zeroth,) = torch.autograd.grad(value.sum(), a)
        return ratio_of(first, zeroth, ~(step.terminated | step.truncated))

    def entropy(self, obs, noise):
        g = self.pi(self.actor, obs)
        u = g.mean + noise * g.logstd.exp()
        return -(g.log_prob(u) - torch.log1p(-torch.tanh(u).square()).sum(-1)).mean()


def cut(env_state):
    return env_state._replace(physics=type(env_state.physics)(*(part.detach() for part in env_state.physics)))


def adam_step(c, params, moments, loss, lr, max_norm):
    optimiser = torch.optim.Adam([params], lr=lr, betas=c.betas)
    optimiser.state[params] = {
        "step": torch.tensor(float(moments.step)),
        "exp_avg": moments.m.clone(),
        "exp_avg_sq": moments.v.clone(),
    }
    loss.backward()
    torch.nn.utils.clip_grad_norm_([params], max_norm)
    optimiser.step()


LR = 7e-4 + (1e-5 - 7e-4) / 10
"""Of the second of ten updates."""


def test_an_update_with_pieces_from_every_step(worlds):
    """Each piece simulated anew from its own start, with the parameters learning at its first action only."""
    c = AGPOConfig(**SMALL)
    algorithm = AGPO(c)
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 4))
    new, metrics = algorithm.update(state)
    twin = Twin(algorithm, state)
    fixed = twin.actor.detach()
    starts, alphas, env_state, obs = [], [], state.run.env_state, state.run.obs
    for t in range(c.horizon):
        starts.append((cut(env_state), obs.detach()))
        alphas.append(twin.alone(env_state, obs, t))
        env_state, step = twin.env.step(env_state, twin.act(fixed, obs, twin.eps[t]))
        obs = step.obs

    def piece(t, env_state, obs, first):
        """``F_t`` of every world."""
        flat = twin.actor if first else fixed
        action = twin.act(flat, obs, twin.eps[t])
        value, reward, follows, env_state, step = twin.step(env_state, obs, action, t, flat)
        rest = torch.where(step.terminated, 0.0, follows)
        if t < c.horizon - 1:
            ends = step.terminated | step.truncated
            rest = torch.where(ends, rest, piece(t + 1, env_state, step.obs, False))
        return (1 - alphas[t]) * value + alphas[t] * (reward + c.gamma * rest)

    pieces = torch.stack([piece(t, *start, True) for t, start in enumerate(starts)])
    states = torch.cat([obs for _, obs in starts])
    loss = -(pieces.mean() + 0.01 * twin.entropy(states, twin.eps.reshape(-1, 1)))
    adam_step(c, twin.actor, state.actor_adam, loss, LR, 1.0)
    torch.testing.assert_close(new.actor, twin.actor.detach(), rtol=1e-6, atol=1e-8)
    assert metrics["alpha_mean"] == pytest.approx(np.mean(alphas), rel=1e-6)


@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_an_update_is_the_papers(worlds, threshold):
    """Algorithm 1 with loops over worlds: gradients at the action of one step alone, credit, objective, target."""
    c = AGPOConfig(**SMALL, threshold=threshold, truncation="restart", kl_coef=0.3, lam=0.0)
    algorithm = AGPO(c)
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 4))
    new, metrics = algorithm.update(state)

    twin, n, steps = Twin(algorithm, state), 6, 8
    env_state, obs = state.run.env_state, state.run.obs
    rows = []
    beta, alphas = [1.0] * n, []
    for t in range(steps):
        alpha = twin.alone(env_state, obs, t)
        alphas.append(alpha)
        # The same step within the window.
        action, seen = twin.act(twin.actor, obs, twin.eps[t]), obs
        value, reward, follows, env_state, step = twin.step(env_state, obs, action, t, twin.actor)
        done = step.terminated | step.truncated
        rows.append((seen, action, reward, value, follows, step.terminated, done, alpha))
        ends = []
        for i in range(n):
            beta[i] *= alpha
            ends.append(bool(done[i]) or beta[i] < threshold)
            if ends[-1]:
                beta[i] = 1.0
        keep = ~torch.tensor(ends)[:, None]
        obs = torch.where(keep, step.obs, step.obs.detach())
        physics = (torch.where(keep, part, part.detach()) for part in env_state.physics)
        env_state = env_state._replace(physics=type(env_state.physics)(*physics))

    objective = 0.0
    for i in range(n):
        credit, discount = 1.0, 1.0
        for t, (_, _, reward, value, follows, terminated, done, alpha) in enumerate(rows):
            objective = objective + discount * ((1 - alpha) * credit * value[i] + alpha * credit * reward[i])
            credit, discount = credit * alpha, discount * c.gamma
            if done[i] or t == steps - 1 or credit < threshold:
                objective = objective + (0.0 if terminated[i] else discount * credit * follows[i])
                credit, discount = 1.0, 1.0
    objective = objective / (n * steps)
    states = torch.cat([row[0].detach() for row in rows])
    entropy = twin.entropy(states, twin.eps.reshape(-1, 1))
    pair = (twin.pi(twin.actor, states), twin.pi(state.previous, states))
    normals = [torch.distributions.Normal(p.mean, p.logstd.exp()) for p in pair]
    kl = torch.distributions.kl_divergence(*normals).sum(-1).mean()
    loss = -(objective + 0.01 * entropy - 0.3 * kl)

    assert metrics["alpha_mean"] == pytest.approx(np.mean(alphas), rel=1e-6)
    assert 0.0 < metrics["alpha_mean"] < 1.0 and metrics["kl"] > 0
    assert metrics["actor_loss"] == pytest.approx(loss.item(), rel=1e-7)
    targets = torch.cat([r + c.gamma * torch.where(end, 0.0, f) for _, _, r, _, f, end, _, _ in rows]).detach()
    assert metrics["value_mean"] == pytest.approx(targets.mean().item(), rel=1e-7)

    adam_step(c, twin.actor, state.actor_adam, loss, LR, 1.0)
    torch.testing.assert_close(new.actor, twin.actor.detach(), rtol=1e-6, atol=1e-8)
    fitted = state.critic.clone().requires_grad_()
    actions = torch.cat([row[1].detach() for row in rows])
    errors = (twin.q(fitted, states, actions) - targets).square().mean(1).sum()
    adam_step(c, fitted, state.critic_adam, errors, LR, 10.0)
    torch.testing.assert_close(new.critic, fitted.detach(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(new.target, 0.8 * new.critic + 0.2 * state.target)
    assert torch.equal(new.previous, state.actor)


def test_a_step_whose_gradient_is_not_finite_gets_no_weight(worlds):
    """And the update goes on: a gate is a choice, where a weight of zero would make NaN."""
    algorithm = AGPO(AGPOConfig(**SMALL))
    state, metrics = run(algorithm, algorithm.init(Poisoned(worlds(), "gradient", countdown=8 + 3), 0), 3)
    assert state.run.refused == 0 and torch.isfinite(state.actor).all()
    clean = algorithm.init(worlds(), 0)
    _, (_, expected, _) = run(algorithm, clean, 3)
    assert metrics[1]["alpha_mean"] < expected["alpha_mean"]


def test_with_a_ratio_of_zero_no_gradient_of_the_simulator_is_used(worlds):
    """One whose rewards have other gradients leads to the same bits."""

    class Scaled:
        def __init__(self, env):
            self.env, self.spec, self.num_envs = env, env.spec, env.num_envs

        def reset(self, seed):
            return self.env.reset(seed)

        def step(self, state, action):
            state, step = self.env.step(state, action)
            if step.reward.requires_grad:
                step.reward.register_hook(lambda g: 1000.0 * g)
            return state, step

    algorithm = AGPO(AGPOConfig(**SMALL, ratio="fixed", fixed_ratio=0.0))
    a, metrics = run(algorithm, algorithm.init(worlds(), 0), 3)
    b, _ = run(algorithm, algorithm.init(Scaled(worlds()), 0), 3)
    assert torch.equal(a.actor, b.actor)
    assert all(m["effective_horizon"] == 0 for m in metrics)
    mixed = AGPO(AGPOConfig(**SMALL))
    a, _ = run(mixed, mixed.init(worlds(), 0), 3)
    b, _ = run(mixed, mixed.init(Scaled(worlds()), 0), 3)
    assert not torch.equal(a.actor, b.actor)


def test_with_a_ratio_of_one_and_no_ends_all_truncations_agree(worlds):
    states = []
    for truncation in ("restart", "bootstrap", "drop"):  # pieces that overlap are another objective
        algorithm = AGPO(AGPOConfig(**SMALL, ratio="fixed", truncation=truncation))
        state, metrics = run(algorithm, algorithm.init(worlds(limit=10.0, horizon=100), 0), 2)
        assert all(m["effective_horizon"] == 8 and m["beta_mean"] == 1 for m in metrics)
        states.append(state)
    assert torch.equal(states[0].actor, states[1].actor) and torch.equal(states[0].actor, states[2].actor)


@pytest.mark.parametrize(
    "change",
    [
        {"truncation": "restart"},
        {"truncation": "bootstrap"},
        {"truncation": "drop"},
        {"kl_coef": 0.3},
        {"variance": "vector"},
        {"truncation": "restart", "threshold": 0.0},
        {"entropy_coef": 0.0},
        {"reward_scale": 1.0},
        {"lam": 0.0},
        {"num_critics": 1},
        {"state_dependent_std": False},
    ],
    ids=lambda change: "-".join(map(str, next(iter(change.items())))),
)
def test_every_choice_matters(worlds, change):
    whole, other = (AGPO(AGPOConfig(**{**SMALL, "threshold": 0.5, **more})) for more in ({}, change))
    a, _ = run(whole, whole.init(worlds(), 0), 3)
    b, _ = run(other, other.init(worlds(), 0), 3)
    assert a.actor.shape != b.actor.shape or not torch.equal(a.actor, b.actor)


def test_the_divergence_may_be_from_the_policy_before(worlds):
    """At the first update there is none; a heavy penalty keeps steps from adding up."""
    algorithm = AGPO(AGPOConfig(**SMALL))
    _, metrics = run(algorithm, algorithm.init(worlds(), 0), 3)
    assert metrics[0]["kl"] == 0.0 and metrics[1]["kl"] > 0.0
    heavy = AGPO(AGPOConfig(**SMALL, kl_coef=1000.0))
    _, held = run(heavy, heavy.init(worlds(), 0), 3)
    assert held[2]["kl"] < metrics[2]["kl"]


def test_the_divergence_from_the_policy_that_acted_has_no_gradient(worlds):
    """One step is taken for each window, so that its weight changes nothing."""
    states = []
    for kl_coef in (0.0, 1000.0):
        algorithm = AGPO(AGPOConfig(**SMALL, kl_coef=kl_coef, kl_reference="acting"))
        states.append(run(algorithm, algorithm.init(worlds(), 0), 3)[0])
    assert torch.equal(states[0].actor, states[1].actor)


def test_a_tolerant_ratio_trusts_the_simulator_until_it_spreads(worlds):
    """Between the fixed ratio of one and the paper's, to the bit; a gradient that is not finite it never trusts."""
    states = []
    for options in ({"ratio": "tolerant", "tolerance": 1e6}, {"ratio": "fixed"}):
        algorithm = AGPO(AGPOConfig(**SMALL, **options))
        states.append(run(algorithm, algorithm.init(worlds(limit=1e3, horizon=100), 0), 3)[0])
    assert torch.equal(states[0].actor, states[1].actor)

    algorithm = AGPO(AGPOConfig(**SMALL))
    by_paper, _ = run(algorithm, algorithm.init(worlds(), 0), 3)
    algorithm = AGPO(AGPOConfig(**SMALL, ratio="tolerant", tolerance=1e-9))
    assert torch.equal(by_paper.actor, run(algorithm, algorithm.init(worlds(), 0), 3)[0].actor)

    algorithm = AGPO(AGPOConfig(**SMALL, ratio="tolerant", tolerance=1e6))
    env = Poisoned(worlds(limit=1e3, horizon=100), "gradient", countdown=3)
    _, (metrics,) = run(algorithm, algorithm.init(env, 0), 1)
    assert metrics["alpha_mean"] == pytest.approx(7 / 8) and metrics["refused_updates"] == 0


RULES = [{"outliers": "max_norm", "outlier_norm": 0.1}, {"outliers": "quantile", "outlier_quantiles": (0.2, 0.7)}]


def after_rule(gradients, options):
    """``gradients [N, na]`` of one step under a rule, world by world."""
    norms = [math.sqrt(sum(float(x) ** 2 for x in g)) for g in gradients]
    if options["outliers"] == "max_norm":
        return torch.stack([g * min(1.0, 0.1 / norm) for g, norm in zip(gradients, norms, strict=True)])
    low, high = np.quantile(norms, options["outlier_quantiles"])
    return torch.stack([g * float(low <= norm <= high) for g, norm in zip(gradients, norms, strict=True)])


@pytest.mark.parametrize("options", RULES, ids=lambda options: options["outliers"])
def test_a_rule_for_outliers_changes_the_gradient_of_each_world(worlds, options):
    """In windows of one step, where the gradient of an action is that of ``r + gamma Q'`` and nothing else."""
    c = AGPOConfig(**{**SMALL, "horizon": 1}, ratio="fixed", entropy_coef=0.0, **options)
    algorithm = AGPO(c)
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 4))
    new, _ = algorithm.update(state)
    twin = Twin(algorithm, state)
    action = twin.act(twin.actor, state.run.obs, twin.eps[0])
    _, reward, follows, _, step = twin.step(state.run.env_state, state.run.obs, action, 0, twin.actor.detach())
    simulated = reward + c.gamma * torch.where(step.terminated, 0.0, follows)
    (of_action,) = torch.autograd.grad(simulated.sum(), action, retain_graph=True)
    ruled = after_rule(of_action, options)
    assert not torch.equal(ruled, of_action) and ruled.any()
    # What follows also depends on the next action's parameters, which no rule touches.
    _, reward, follows, _, step = twin.step(state.run.env_state, state.run.obs, action.detach(), 0, twin.actor)
    later = torch.where(step.terminated, 0.0, follows).mean() * c.gamma
    loss = -((ruled * action).sum() / len(action) + later)
    adam_step(c, twin.actor, state.actor_adam, loss, LR, 1.0)
    torch.testing.assert_close(new.actor, twin.actor.detach(), rtol=1e-6, atol=1e-8)


def test_a_rule_that_finds_no_outlier_changes_no_bit(worlds):
    wide = [{"outliers": "max_norm", "outlier_norm": 1e6}, {"outliers": "quantile", "outlier_quantiles": (0.0, 1.0)}]
    actors = []
    for options in ({}, *wide, *RULES):
        algorithm = AGPO(AGPOConfig(**SMALL, ratio="fixed", **options))
        actors.append(run(algorithm, algorithm.init(worlds(), 0), 3)[0].actor)
    same = [torch.equal(actor, actors[0]) for actor in actors]
    assert same == [True, True, True, False, False]


@pytest.mark.parametrize("options", RULES, ids=lambda options: options["outliers"])
def test_a_rule_leaves_what_is_not_finite_to_the_gate(worlds, options):
    algorithm = AGPO(AGPOConfig(**SMALL, ratio="fixed", **options))
    env = Poisoned(worlds(limit=1e3, horizon=100), "gradient", countdown=3)
    state, (metrics,) = run(algorithm, algorithm.init(env, 0), 1)
    assert metrics["lost_gradients"] > 0 and state.run.refused == 0 and torch.isfinite(state.actor).all()


@pytest.mark.parametrize("ratio", [{}, {"ratio": "tolerant"}, {"ratio": "fixed", "fixed_ratio": 0.9}])
def test_a_rule_takes_the_place_of_the_mixture(ratio):
    with pytest.raises(ValueError, match=r"^outliers is quantile; it must be none, or use ratio=fixed and fixed_ratio"):
        AGPOConfig(**ratio, outliers="quantile")


@pytest.mark.parametrize(("trust", "counts"), [(1.0, 0.2), (0.25, 0.8), (0.0, 1.0)])
def test_entropy_may_count_where_the_simulator_is_not_trusted(worlds, trust, counts):
    """At one ratio for all steps that is a smaller weight: the floor, and of the rest the part of the Q functions."""
    losses = []
    for options in ({"entropy_floor": 0.2, "entropy_coef": 0.4}, {"entropy_coef": 0.4 * counts}):
        algorithm = AGPO(AGPOConfig(**SMALL, ratio="fixed", fixed_ratio=trust, **options))
        losses.append(run(algorithm, algorithm.init(worlds(dtype="float64"), 0), 1)[1][0]["actor_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_one_world_has_no_variance(worlds):
    with pytest.raises(ValueError, match="num_envs is 1, and AGPO takes variances over worlds; give it at least 2"):
        AGPO(AGPOConfig(**SMALL)).init(worlds(num_envs=1), 0)
    fixed = AGPO(AGPOConfig(**SMALL, ratio="fixed"))
    assert fixed.update(fixed.init(worlds(num_envs=1), 0))[0].run.refused == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.5},
        {"fixed_ratio": -0.1},
        {"tolerance": 0.0},
        {"entropy_floor": 1.5},
        {"reward_scale": 0.0},
        {"kl_coef": -1.0},
        {"num_critics": 0},
        {"outlier_norm": 0.0},
        {"outlier_quantiles": (0.9, 0.1)},
    ],
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        AGPOConfig(**wrong)


def test_learns_to_control_a_point_mass(worlds):
    config = AGPOConfig(
        iterations=50,
        horizon=16,
        actor_hidden=(32,),
        critic_hidden=(32,),
        actor_lr=1e-2,
        critic_lr=5e-3,
        critic_iterations=4,
    )
    env = worlds(num_envs=32, limit=10.0, horizon=40)
    untrained, trained, _ = before_and_after(AGPO(config), env)
    assert untrained < 20.0 < 35.0 < trained < 40.0
