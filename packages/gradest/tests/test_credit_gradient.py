"""What the gradient of AGPO's objective is, action by action, on chains short enough to write out.

A policy ``a = theta_0 x + theta_1 + noise`` acts in worlds ``x' = 0.9 x + 0.5 a``, with quadratic rewards and a
quadratic Q function. From step t on, AGPO's recursion is ``F_t = (1 - alpha_t) Q_t + alpha_t (r_t + gamma F_{t+1})``
(Gao et al. 2024, appendix A.3). The gradient is always ``sum_t share_t (da_t/dtheta)' dF_t/da_t / (T N)``, with the
states held fixed in ``da_t/dtheta``. The truncation decides the share of each action.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import gradest

torch = pytest.importorskip("torch")
GAMMA = 0.9
EXACT = {"rtol": 1e-12, "atol": 1e-14}


class Chain(NamedTuple):
    """A window of worlds: the numbers that everything else follows from."""

    start: torch.Tensor
    """First states ``[N]``."""
    noise: torch.Tensor
    """``[T, N]``."""
    alpha: torch.Tensor
    """``[T]``."""
    done: torch.Tensor
    terminated: torch.Tensor
    fresh: torch.Tensor
    """States after a reset ``[T, N]``."""

    @classmethod
    def draw(cls, seed: int, steps: int, worlds: int, ending: float = 0.0) -> Chain:
        rng = np.random.default_rng(seed)
        done = torch.tensor(rng.random((steps, worlds)) < ending)
        terminated = done & torch.tensor(rng.random((steps, worlds)) < 0.5)
        start, noise, fresh = (torch.tensor(rng.normal(size=shape)) for shape in (worlds, *2 * [(steps, worlds)]))
        return cls(start, noise, torch.tensor(rng.random(steps)), done, terminated, fresh)

    def act(self, theta, x, t):
        return theta[0] * x + theta[1] + self.noise[t]

    def step(self, x, a):
        """Reward, Q of the action, the state that follows, and its value."""
        after = 0.9 * x + 0.5 * a
        return -(after**2) - 0.1 * a**2, -((x - 2 * a) ** 2) + x * a, after, 1.0 - 3.0 * after**2

    def states(self, theta):
        """The state of each step ``[T, N]``, without a graph."""
        x, rows = self.start, []
        for t, done in enumerate(self.done):
            rows.append(x)
            x = torch.where(done, self.fresh[t], self.step(x, self.act(theta.detach(), x, t))[2])
        return torch.stack(rows)

    def mixed(self, theta, x, t, action=None):
        """``F_t`` of every world from the state ``x`` on, ``[N]``; its first action may be given."""
        a = self.act(theta, x, t) if action is None else action
        reward, q, after, value = self.step(x, a)
        rest = torch.where(self.terminated[t], 0.0, value)
        if t < len(self.alpha) - 1:
            rest = torch.where(self.done[t], rest, self.mixed(theta, after, t + 1))
        return (1 - self.alpha[t]) * q + self.alpha[t] * (reward + GAMMA * rest)

    def actions_gradients(self, theta):
        """``(da_t/dtheta)' dF_t/da_t`` of every step and world, ``[T, N, 2]``."""
        rows = []
        for t, x in enumerate(self.states(theta)):
            a = self.act(theta.detach(), x, t).requires_grad_()
            (slope,) = torch.autograd.grad(self.mixed(theta.detach(), x, t, a).sum(), a)
            rows.append(torch.stack([x * slope, slope], dim=-1))
        return torch.stack(rows)

    def computed(self, theta, truncation, threshold=0.0):
        """The gradient by the weights and links of ``credit_weights``, as AGPO takes it."""
        w = gradest.credit_weights(
            self.alpha, self.terminated, self.done, gamma=GAMMA, threshold=threshold, truncation=truncation
        )
        x, rows = self.start, []
        for t, done in enumerate(self.done):
            reward, q, after, value = self.step(x, self.act(theta, x, t))
            rows.append((reward, q, value))
            x = torch.where(done, self.fresh[t], linked(after, w.link[t]))
        objective = gradest.credit_mean(w, *(torch.stack(part) for part in zip(*rows, strict=True)))
        return torch.autograd.grad(objective, theta)[0]


def linked(x, factor):
    """The same state, which passes on ``factor`` times its gradient."""
    return x.detach() + factor * (x - x.detach())


@pytest.fixture(params=range(3))
def theta(request):
    return torch.tensor(np.random.default_rng(request.param).normal(size=2), requires_grad=True)


CHAINS = [(steps, worlds, ending) for steps in (2, 3, 4) for worlds, ending in ((1, 0.0), (5, 0.3))]


@pytest.mark.parametrize(("steps", "worlds", "ending"), CHAINS)
def test_every_credits_each_action_with_its_own_segment(theta, steps, worlds, ending):
    """A share of 1 for each action."""
    chain = Chain.draw(steps, steps, worlds, ending)
    want = chain.actions_gradients(theta).mean((0, 1))
    torch.testing.assert_close(chain.computed(theta, "every"), want, **EXACT)

    # The same as a scalar: the mean of F_t from states that are held fixed, with the policy held fixed after step t.
    held = theta.detach()
    segments = [chain.mixed(held, x, t, chain.act(theta, x, t)) for t, x in enumerate(chain.states(theta))]
    torch.testing.assert_close(torch.autograd.grad(torch.stack(segments).mean(), theta)[0], want, **EXACT)


@pytest.mark.parametrize(("steps", "worlds", "ending"), CHAINS)
def test_that_is_not_the_gradient_of_their_mean(theta, steps, worlds, ending):
    """An action has a part in earlier segments too, and a share of ``c_t = 1 + gamma alpha_{t-1} c_{t-1}``."""
    chain = Chain.draw(steps, steps, worlds, ending)
    segments = torch.stack([chain.mixed(theta, x, t) for t, x in enumerate(chain.states(theta))])
    (got,) = torch.autograd.grad(segments.mean(), theta)

    share = torch.ones_like(chain.noise)
    for t in range(1, steps):
        share[t] = 1 + torch.where(chain.done[t - 1], 0.0, GAMMA * chain.alpha[t - 1] * share[t - 1])
    parts = chain.actions_gradients(theta)
    torch.testing.assert_close(got, (share[..., None] * parts).mean((0, 1)), **EXACT)
    assert (got - chain.computed(theta, "every")).abs().max() > 1e-3


def test_two_steps_by_hand():
    """The second action has a share of 1, and of ``1 + gamma alpha_0`` in the gradient of the mean of both F."""
    zero = torch.zeros(2, 1, dtype=torch.float64)
    never = zero > 0
    chain = Chain(torch.ones(1, dtype=torch.float64), zero, torch.tensor([0.5, 0.25]).double(), never, never, zero)
    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    # No action: x = 1, 0.9, 0.81. At a = 0, dr/da = -2 * 0.5 x', dQ/da = 4 x + x, dvalue/da = -6 * 0.5 x'.
    own = 0.75 * 5 * 0.9 + 0.25 * (-0.81 - 3 * GAMMA * 0.81)
    # F_1 by its state: Q: -2 x, reward: -2 * 0.9 x', value: -6 * 0.9 x'.
    by_state = 0.75 * -2 * 0.9 + 0.25 * (-1.8 * 0.81 - 5.4 * GAMMA * 0.81)
    first = 0.5 * 5 + 0.5 * (-0.9 + GAMMA * 0.5 * by_state)
    np.testing.assert_allclose(chain.computed(theta, "every"), [(first + 0.9 * own) / 2, (first + own) / 2], rtol=1e-12)
    segments = torch.stack([chain.mixed(theta, x, t) for t, x in enumerate(chain.states(theta))])
    twice = 1 + GAMMA * 0.5
    want = [(first + twice * 0.9 * own) / 2, (first + twice * own) / 2]
    np.testing.assert_allclose(torch.autograd.grad(segments.mean(), theta)[0], want, rtol=1e-12)


@pytest.mark.parametrize("truncation", ["drop", "bootstrap", "restart"])
@pytest.mark.parametrize(("steps", "worlds", "ending"), CHAINS)
def test_eq_4_lets_the_share_fall_with_the_credit(theta, truncation, steps, worlds, ending):
    """One segment for the window (Eq. 4 without a threshold): action t has a share of ``gamma^t beta_{t-1}``."""
    chain = Chain.draw(10 + steps, steps, worlds, ending)
    share = torch.ones_like(chain.noise)
    for t in range(1, steps):
        share[t] = torch.where(chain.done[t - 1], 1.0, GAMMA * chain.alpha[t - 1] * share[t - 1])
    want = (share[..., None] * chain.actions_gradients(theta)).mean((0, 1))
    torch.testing.assert_close(chain.computed(theta, truncation), want, **EXACT)


@pytest.mark.parametrize(("steps", "worlds", "ending"), CHAINS)
def test_a_restart_is_an_end_with_a_bootstrap_value(theta, steps, worlds, ending):
    """Within a segment the shares are those of Eq. 4, and they begin anew with the next."""
    chain = Chain.draw(40 + steps, steps, worlds, ending)
    beta, done, fresh, states = torch.ones(worlds, dtype=torch.float64), [], [], chain.states(theta)
    for t in range(steps):
        beta, restart = gradest.credit_step(beta, chain.alpha[t], chain.done[t], threshold=0.4)
        after = chain.step(states[t], chain.act(theta.detach(), states[t], t))[2]
        done.append(restart)
        fresh.append(torch.where(chain.done[t], chain.fresh[t], after))
    ended = chain._replace(done=torch.stack(done), fresh=torch.stack(fresh))
    assert torch.equal(ended.states(theta), states)
    torch.testing.assert_close(
        chain.computed(theta, "restart", threshold=0.4), ended.computed(theta, "restart"), **EXACT
    )


@pytest.mark.parametrize(("steps", "worlds", "ending"), CHAINS)
def test_shac_is_full_credit_in_one_segment_and_not_in_every(theta, steps, worlds, ending):
    """SHAC gives action t a share of ``gamma^t``, and ``every`` gives it 1, whatever the ratio."""
    chain = Chain.draw(20 + steps, steps, worlds, ending)._replace(alpha=torch.ones(steps, dtype=torch.float64))
    x, rows = chain.start, []
    for t, done in enumerate(chain.done):
        reward, _, after, value = chain.step(x, chain.act(theta, x, t))
        rows.append((reward, value))
        x = torch.where(done, chain.fresh[t], after)
    reward, value = (torch.stack(part) for part in zip(*rows, strict=True))
    objective = gradest.segment_objective(reward, value, chain.terminated, chain.done, gamma=GAMMA)
    (shac,) = torch.autograd.grad(objective, theta)
    torch.testing.assert_close(chain.computed(theta, "drop"), shac, **EXACT)

    share = torch.ones_like(chain.noise)
    for t in range(1, steps):
        share[t] = torch.where(chain.done[t - 1], 1.0, GAMMA * share[t - 1])
    torch.testing.assert_close(shac, (share[..., None] * chain.actions_gradients(theta)).mean((0, 1)), **EXACT)
    assert (chain.computed(theta, "every") - shac).abs().max() > 1e-3


@pytest.mark.parametrize("truncation", ["drop", "bootstrap"])
def test_the_threshold_of_the_paper_silences_most_actions(theta, truncation):
    """With ratios of 0.3 a segment ends at step 1 (0.09 < 0.1): later actions of the window have no share at all."""
    chain = Chain.draw(30, 4, 3)._replace(alpha=torch.full((4,), 0.3, dtype=torch.float64))
    noise = chain.noise.clone().requires_grad_()
    chain = chain._replace(noise=noise)
    w = gradest.credit_weights(chain.alpha, chain.terminated, chain.done, gamma=GAMMA, truncation=truncation)
    x, rows = chain.start, []
    for t in range(4):
        reward, q, after, value = chain.step(x, chain.act(theta.detach(), x, t))
        rows.append((reward, q, value))
        x = linked(after, w.link[t])
    objective = gradest.credit_mean(w, *(torch.stack(part) for part in zip(*rows, strict=True)))
    by_action = torch.autograd.grad(objective, noise)[0].abs().amax(1)
    assert (by_action[:2] > 0).all() and (by_action[2:] == 0).all()
