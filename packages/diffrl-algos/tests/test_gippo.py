"""GI-PPO: an update once more, slowly, from the paper; rows that belong together; attempts; that it finds minima."""

from __future__ import annotations

import math

import pytest
import torch

import diffsim_core
from diffrl_algos import GIPPOConfig, train
from diffrl_algos.torch import GIPPO
from diffrl_algos.torch._adam import Adam, Optimizer
from diffrl_algos.torch._attempts import attempt
from diffrl_algos.torch._policy_losses import SquaredError
from diffrl_algos.torch.algorithms import gippo
from gradest.torch import gae_gradient_by_steps

N, T = 6, 8
SMALL = {
    "iterations": 10,
    "horizon": T,
    "actor_hidden": (8,),
    "critic_hidden": (16,),
    "critic_iterations": 2,
    "alpha_init": 0.02,
    "actor_iterations": 2,
}


class Paper:
    """One update in float64 with loops over steps and worlds, written from Algorithm 1 and Eq. 8-18."""

    def __init__(self, c, algorithm, state):
        self.c, self.state, self.policy = c, state, algorithm.policy(state)
        self.value_scale = state.value_stats.mean, (state.value_stats.var + 1e-5).sqrt()

    def x(self, obs):
        return self.policy.normalize(obs)

    def act(self, flat, x):
        w, b, scale, shift, v, d = flat.split([16, 8, 8, 8, 16, 2])
        h = torch.nn.functional.elu(x @ w.view(8, 2).T + b)
        h = torch.nn.functional.layer_norm(h, (8,), scale, shift)
        mean, logstd = (h @ v.view(2, 8).T + d).chunk(2, dim=-1)
        return torch.distributions.Normal(mean, logstd.exp())

    def value(self, obs):
        w, b, scale, shift, v, d = self.state.target.split([32, 16, 16, 16, 16, 1])
        h = torch.nn.functional.elu(self.x(obs) @ w.view(16, 2).T + b)
        value = torch.nn.functional.layer_norm(h, (16,), scale, shift) @ v + d
        mean, std = self.value_scale if self.c.normalize_value else (0.0, 1.0)
        return mean + std * value

    def collect(self):
        c, generator = self.c, torch.Generator()
        generator.set_state(self.state.run.rng)
        eps = torch.randn(T, N, 1, generator=generator, dtype=torch.float64)
        env_state, obs, actor = self.state.run.env_state, self.state.run.obs, self.state.actor.clone().requires_grad_()
        rows = []
        for t in range(T):
            x = self.x(obs)
            policy = self.act(actor, x)
            u = policy.mean + policy.stddev * eps[t]
            env_state, step = self.state.env.step(env_state, torch.tanh(u))
            value, after = self.value(obs), self.value(step.final_obs)
            rows.append((x, eps[t], u, policy, step, value, after))
            obs = step.obs
        # Eq. 14, world by world: nothing follows a termination, and no sum crosses an end.
        self.rows, advantage = [], {}
        for i in range(N):
            ahead = torch.zeros((), dtype=torch.float64)
            for t in reversed(range(T)):
                _, _, _, _, step, value, after = rows[t]
                done = bool(step.terminated[i] | step.truncated[i])
                follows = 0.0 if step.terminated[i] else after[i]
                delta = step.reward[i] + c.gamma * follows - value[i]
                advantage[t, i] = ahead = delta + (0.0 if done else c.gamma * c.lam * ahead)
        # Eq. 15 by its definition: the gradient of every advantage by its own action, one at a time.
        for t in range(T):
            x, e, u, policy, *_ = rows[t]
            for i in range(N):
                (g,) = torch.autograd.grad(advantage[t, i], u, retain_graph=True)
                log_prob = policy.log_prob(u)[i].sum()
                parts = (x[i], e[i], u[i], log_prob, advantage[t, i], policy.stddev[i])
                self.rows.append((*(part.detach() for part in parts), g[i]))
        return generator

    def update(self):
        c, generator = self.c, self.collect()
        columns = [torch.stack(column) for column in zip(*self.rows, strict=True)]
        x, eps, u, old, advantage, std_old, gradient = columns
        alpha = float(self.state.alpha[0])
        actor = self.state.actor.clone().requires_grad_()

        def steps(moments, betas, rate, loss, count):
            optimiser = torch.optim.Adam([actor], lr=rate, betas=betas)
            if moments.step:
                values = {"step": torch.tensor(float(moments.step)), "exp_avg": moments.m.clone()}
                optimiser.state[actor] = {**values, "exp_avg_sq": moments.v.clone()}
            seen = []
            for _ in range(count):
                optimiser.zero_grad()
                seen.append(loss())
                seen[-1].backward()
                torch.nn.utils.clip_grad_norm_([actor], c.max_grad_norm)
                optimiser.step()
            assert seen[-1] <= seen[0]

        # Step 1, Eq. 8 and 10.
        wanted = u + alpha * gradient

        def apart():
            policy = self.act(actor, x)
            return ((policy.mean + policy.stddev * eps - wanted) ** 2).sum(-1).mean()

        steps(self.state.alpha_adam, c.betas, c.alpha_lr, apart, c.alpha_iterations)
        # Step 2: Lemma 4.4, Eq. 16 (without what the old policy has by itself) and Eq. 12.
        with torch.no_grad():
            policy = self.act(actor, x)
            log_alpha = policy.log_prob(u).sum(-1)
            psi = (policy.stddev / std_old).prod(-1)
            ratio = torch.exp(log_alpha - old)
            gain = sum((ratio[k] - 1) * advantage[k] for k in range(N * T)) / (N * T)
            outside = sum(abs(float(r) - 1) > c.clip for r in ratio) / (N * T)
        fails = psi.min() < 1 - c.delta_det or psi.max() > 1 + c.delta_det or gain < 0 or outside > c.delta_oorr
        alpha = min(alpha / c.alpha_factor if fails else alpha * c.alpha_factor, c.alpha_max)
        # Step 3, Eq. 18.
        near = torch.log((old.exp() + log_alpha.exp()) / 2)
        a = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        def surrogate():
            w = torch.exp(self.act(actor, x).log_prob(u).sum(-1) - near)
            return -torch.minimum(w * a, w.clamp(1 - c.clip, 1 + c.clip) * a).mean()

        steps(self.state.actor_adam, c.ppo_betas, c.actor_lr, surrogate, c.actor_iterations)
        figures = {"determinant_min": psi.min(), "determinant_max": psi.max(), "additional_return": gain}
        figures["gradient_variance"] = gradient.var(0).sum()
        return actor.detach(), alpha, {**figures, "out_of_range": outside}, generator


@pytest.mark.parametrize("normalize_value", [False, True])
def test_an_update_is_the_papers(worlds, normalize_value):
    c = GIPPOConfig(**SMALL, normalize_value=normalize_value, alpha_lr=1e-3)
    algorithm = GIPPO(c)
    state = algorithm.init(worlds(dtype="float64"), 2)
    for _ in range(2):
        state, _ = algorithm.update(state)
    new, metrics = algorithm.update(state)
    assert metrics["alpha_attempts"] == metrics["ppo_attempts"] == 1
    actor, alpha, figures, _ = Paper(c, algorithm, state).update()
    torch.testing.assert_close(new.actor, actor, rtol=1e-7, atol=1e-10)
    assert float(new.alpha[0]) == pytest.approx(alpha, rel=1e-14)
    assert float(state.alpha[0]) == metrics["alpha"] != alpha
    for name, value in figures.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-6, abs=1e-12), name


def window_of(worlds, **changes):
    algorithm = GIPPO(GIPPOConfig(**SMALL, **changes))
    state, _ = algorithm.update(algorithm.init(worlds(dtype="float64"), 0))
    generator = torch.Generator()
    generator.set_state(state.run.rng)
    _, window, values = algorithm.collect(state, generator, push=True)
    return algorithm, state, window, values


def test_rows_of_a_batch_belong_together(worlds):
    """Row ``t N + i`` of every part is step ``t`` of world ``i``: the published code mixed the orders of two parts."""
    # Compiled code has exponentials of its own, which differ in the last bit.
    algorithm, _, window, values = window_of(worlds, policy_step="torch")
    assert window.trajectory.done[:-1].any()
    by_steps = gae_gradient_by_steps(values.advantage, window.push)
    batch, lost = algorithm._batch(window, values)
    log_prob = window.policy.log_prob(window.u.detach())
    assert lost == 0
    for t in range(T):
        for i in range(N):
            row, policy = t * N + i, type(window.policy)(window.policy.mean[t, i], window.policy.logstd[t, i])
            assert torch.equal(batch.u[row], window.u[t, i].detach())
            assert batch.advantage[row] == values.advantage[t, i]
            assert batch.log_prob[row] == log_prob[t, i] == policy.log_prob(batch.u[row])
            assert torch.equal(policy.mean + batch.eps[row] * policy.logstd.exp(), batch.u[row])
            torch.testing.assert_close(batch.gradient[row], by_steps[t, i], rtol=1e-9, atol=1e-12)


def test_the_order_of_rows_changes_no_measurement(worlds):
    algorithm, state, window, values = window_of(worlds)
    batch, _ = algorithm._batch(window, values)
    order = torch.randperm(N * T, generator=torch.Generator().manual_seed(0))
    mixed = type(batch)(*(part[order] for part in batch))
    actor, generator = algorithm.actor(state.env), torch.Generator()
    one, other = (algorithm._fit(actor, state, rows, 0.02, generator) for rows in (batch, mixed))
    torch.testing.assert_close(one.params, other.params, rtol=1e-9, atol=1e-12)


def test_the_variance_of_gradients_is_that_of_steps_that_were_taken():
    rows, taken = torch.randn(9, 3, dtype=torch.float64), torch.arange(9) % 3 != 0
    found = gippo._total_variance(torch.where(taken[:, None], rows, 0.0), taken)
    torch.testing.assert_close(found, rows[taken].var(0).sum())


def test_compiled_code_takes_the_same_update(worlds):
    """In double precision, all of it by torch's operations and by compiled code: the same steps, to rounding."""
    found = []
    for code in ("torch", "native"):
        ways = dict.fromkeys(("policy_step", "policy_fit", "critic_fit"), code)
        config = GIPPOConfig(**SMALL, **ways, alpha_lr=1e-3, alpha_minibatches=4, actor_minibatches=3)
        algorithm = GIPPO(config)
        state = algorithm.init(worlds(dtype="float64"), 2)
        for _ in range(3):
            state, metrics = algorithm.update(state)
        assert metrics["refused_updates"] == 0
        found.append((state, metrics))
    (slow, expected), (fast, metrics) = found
    for name in ("actor", "critic", "target", "alpha", "rates"):
        torch.testing.assert_close(getattr(fast, name), getattr(slow, name), rtol=1e-8, atol=1e-10)
    for name in ("alpha_loss", "actor_loss", "critic_loss", "grad_norm", "determinant_min", "out_of_range", "kl"):
        assert metrics[name] == pytest.approx(expected[name], rel=1e-7, abs=1e-10), name


def test_minibatches_of_the_fit_share_the_window(worlds, monkeypatch):
    """Each epoch takes every row once, in an order of its own, which the next update does not repeat."""
    original, seen = gippo.fit_policy_, []

    def fit(actor, flat, adam, x, order, loss, **options):
        if isinstance(loss, SquaredError):
            seen.append((order, options["minibatch"]))
        return original(actor, flat, adam, x, order, loss, **options)

    monkeypatch.setattr(gippo, "fit_policy_", fit)
    algorithm = GIPPO(GIPPOConfig(**SMALL, alpha_iterations=3, alpha_minibatches=4, attempts=1))
    state = algorithm.init(worlds(), 0)
    for _ in range(2):
        state, _ = algorithm.update(state)
    assert state.alpha_adam.step == 2 * 3 * 4
    orders = [row for order, minibatch in seen for row in order if minibatch == N * T // 4]
    assert len(orders) == 6
    assert all(torch.equal(order.sort().values, torch.arange(N * T)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 6


def test_values_at_an_end_are_those_of_what_the_step_led_to(worlds):
    """Not of the episode that begins there, as in the published code of the algorithms without gradients."""
    algorithm, state, window, values = window_of(worlds)
    steps, paper = window.trajectory, Paper(algorithm.config, algorithm, state)
    torch.testing.assert_close(values.value_next, paper.value(steps.final_obs))
    assert steps.truncated[:-1].any()
    began = torch.cat([steps.obs[1:], window.obs[None]])
    assert (paper.value(began) - values.value_next)[steps.done].abs().min() > 1e-6


@pytest.mark.parametrize(("near", "apart"), [("virtual", 0.1), ("guarded", 0.1), ("guarded", 5.0), ("alpha", 0.1)])
def test_what_ppo_stays_near(near, apart):
    algorithm = GIPPO(GIPPOConfig(near=near))
    old = torch.tensor([0.0, -1.0], dtype=torch.float64)
    alpha = old + torch.tensor([0.2, apart], dtype=torch.float64)
    found = algorithm._near(old, alpha)(torch.tensor([0, 1]))
    halfway = torch.log((old.exp() + alpha.exp()) / 2)
    torch.testing.assert_close(found, alpha if near == "alpha" or apart > 4 else halfway)
    assert torch.equal(GIPPO(GIPPOConfig(near="old"))._near(old, alpha)(torch.tensor([0, 1])), old)


@pytest.mark.parametrize("compound", [False, True])
def test_attempts_lower_the_rate_until_one_does_no_harm(compound):
    """Down x^2 from 1: Adam's first step is the rate itself, so that it goes up the other side above 2."""
    rates = []

    def once(flat, adam, rate):
        rates.append(rate)
        before = flat.square().sum()
        adam, _ = Optimizer((0.9, 0.999), 1e9).step_(flat, Adam.init(flat), 2 * flat, rate)
        return adam, before, flat.square().sum()

    start = torch.ones(1, dtype=torch.float64)
    phase = attempt(once, start, Adam.init(start), 2.5, most=8, compound=compound)
    assert rates == [2.5, 2.5 / 1.5] and phase.attempts == 2 and phase.succeeded and phase.rate == 2.5
    assert phase.params.item() == pytest.approx(1 - 2.5 / 1.5) and start.item() == 1.0
    rates.clear()
    failed = attempt(once, start, Adam.init(start), 40.0, most=3, compound=compound, rate_min=30.0)
    assert rates == [40.0, 40.0 / 1.5, 40.0 / 1.5**2 if compound else 40.0 / 1.5]
    assert not failed.succeeded and failed.rate == 30.0 and torch.equal(failed.params, start)


def test_a_remembered_rate_is_that_which_succeeded_and_grows_up_to_its_limit():
    """Down x^2 from 1 again, where a rate above 2 fails."""

    def once(flat, adam, rate):
        before = flat.square().sum()
        adam, _ = Optimizer((0.9, 0.999), 1e9).step_(flat, Adam.init(flat), 2 * flat, rate)
        return adam, before, flat.square().sum()

    start, rate, found = torch.ones(1, dtype=torch.float64), 2.5, []
    for _ in range(20):
        phase = attempt(once, start, Adam.init(start), rate, most=8, compound=True, rate_max=2.5)
        assert phase.succeeded and phase.params.item() == pytest.approx(1 - rate / 1.5 ** (phase.attempts - 1))
        expected = rate / 1.5 if rate > 2 else min(rate * 1.5**0.25, 2.5)
        rate = phase.rate
        assert rate == pytest.approx(expected)
        found.append(phase.attempts)
    assert found[:5] == [2, 1, 1, 2, 1] and set(found[5:]) == {1, 2} and sum(found[5:]) <= 15 + 15 / 5 + 1
    small = attempt(once, start, Adam.init(start), 1.9, most=8, compound=True, rate_max=1.95)
    assert small.rate == 1.95


@pytest.mark.parametrize("rule", ["restored", "remembered"])
def test_a_fit_begins_with_the_rate_that_its_rule_says(worlds, rule):
    """At a rate that overshoots the first try fails; what the next update begins with tells the rules apart."""
    algorithm = GIPPO(GIPPOConfig(**SMALL, alpha_rate=rule, alpha_lr=0.5, attempts=20))
    new, metrics = algorithm.update(algorithm.init(worlds(), 0))
    tries = metrics["alpha_attempts"]
    assert tries > 1
    assert float(new.rates[0]) == pytest.approx(0.5 / 1.5 ** (tries - 1) if rule == "remembered" else 0.5)


def test_an_attempt_can_be_judged_by_what_it_leaves():
    """Down x^2 from 1 again; the only pass knows the loss it began with, 1, and not that 2.5 leads to 2.25."""

    def once(flat, adam, rate):
        loss = flat.square().sum()
        adam, _ = Optimizer((0.9, 0.999), 1e9).step_(flat, Adam.init(flat), 2 * flat, rate)
        return adam, loss, loss

    start = torch.ones(1, dtype=torch.float64)
    phase = attempt(once, start, Adam.init(start), 2.5, most=8, compound=True)
    assert phase.succeeded and phase.attempts == 1 and phase.params.item() == pytest.approx(-1.5)
    judged = attempt(once, start, Adam.init(start), 2.5, most=8, compound=True, result=lambda flat: flat.square().sum())
    assert judged.attempts == 2 and judged.params.item() == pytest.approx(1 - 2.5 / 1.5)
    assert judged.loss.item() == pytest.approx((1 - 2.5 / 1.5) ** 2)


@pytest.mark.parametrize("phase", ["alpha", "ppo"])
def test_no_phase_leaves_its_loss_higher_than_it_was(worlds, phase):
    """At rates that overshoot with the last step, only the loss of the result tells."""
    rates = {"alpha_lr": 1.0, "actor_lr": 1e-9} if phase == "alpha" else {"alpha_lr": 1e-9, "actor_lr": 1.0}
    one = {"alpha_iterations": 1, "actor_iterations": 1, "attempts": 1, "actor_minibatches": 1}
    kept = {}
    for judged_by in ("result", "last_pass"):
        algorithm = GIPPO(GIPPOConfig(**{**SMALL, **one, **rates, "judged_by": judged_by}))
        state = algorithm.init(worlds(), 0)
        new, _ = algorithm.update(state)
        moved = (new.actor - state.actor).abs().max()
        kept[judged_by] = bool(moved < 1e-3)
        assert new.rates.tolist() == pytest.approx(
            [rate / (1.5 if kept[judged_by] and rate == 1.0 else 1.0) for rate in rates.values()]
        )
    assert kept == {"result": True, "last_pass": False}


def test_a_loss_that_is_not_a_number_is_no_success():
    def once(flat, adam, rate):
        return adam, torch.tensor(0.0), torch.tensor(math.nan)

    phase = attempt(once, torch.zeros(1), Adam.init(torch.zeros(1)), 1.0, most=2, compound=True)
    assert not phase.succeeded and phase.rate == pytest.approx(1 / 1.5)


def test_a_fit_that_fails_leaves_alpha_and_policy(worlds):
    """A rate of 1e9 throws any network out; PPO's passes are made to fail too."""
    config = GIPPOConfig(**SMALL, alpha_lr=1e9, actor_lr=1e9, attempts=1)
    algorithm = GIPPO(config)
    state = algorithm.init(worlds(), 0)
    new, metrics = algorithm.update(state)
    assert torch.equal(new.actor, state.actor) and torch.equal(new.alpha, state.alpha)
    assert new.rates.tolist() == pytest.approx([1e9 / 1.5] * 2)
    assert metrics["determinant_min"] == pytest.approx(1.0) == metrics["determinant_max"]
    assert metrics["out_of_range"] == 0.0
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6) and metrics["refused_updates"] == 0


def test_the_rate_of_ppo_follows_the_divergence_of_its_own_passes(worlds):
    config = GIPPOConfig(**SMALL, adaptive_lr=True, kl_target=1e-12)
    algorithm = GIPPO(config)
    new, metrics = algorithm.update(algorithm.init(worlds(), 0))
    assert metrics["kl_ppo"] > 1e-12 and metrics["kl"] != metrics["kl_ppo"]
    assert float(new.rates[1]) == pytest.approx(1e-4 / 1.5)


@pytest.mark.parametrize(
    "wrong",
    [{"alpha_init": 2.0}, {"alpha_factor": 1.0}, {"attempts": 0}, {"delta_oorr": 1.5}, {"ppo_betas": (0.9, 1.0)}],
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=rf"^{next(iter(wrong))} (of \w+ )?is"):
        GIPPOConfig(**wrong)


def test_one_backward_pass_needs_a_decay_above_zero():
    with pytest.raises(ValueError, match=r"gamma \* lam is 0.0; it must be above 0"):
        GIPPOConfig(lam=0.0)


def test_it_finds_the_minimum_of_a_function():
    config = GIPPOConfig(
        iterations=70,
        horizon=1,
        actor_hidden=(32, 32),
        critic_hidden=(32,),
        alpha_lr=1e-3,
        alpha_init=1e-5,
        alpha_factor=1.1,
        bias_rule="zscore",
        near="guarded",
    )
    result = train(GIPPO(config), diffsim_core.make("dejong"), seed=0)
    assert -1e-2 < result.metrics["return_mean"] <= 0.0
    assert result.metrics["alpha"] > 1e-4
