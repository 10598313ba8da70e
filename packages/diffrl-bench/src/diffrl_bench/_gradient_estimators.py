"""Estimators of the gradient of an expected return: one gradient of every world of a batch.

Where a mixture takes its weights from the worlds of the batch, a world's gradient is that with these weights, so that
the mean over the batch is what the algorithm follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import gradest
from diffrl_algos import DDCGConfig, IVWHConfig
from diffrl_algos._configs.per_step import PerStepConfig
from diffrl_algos._mixing import Samples, mix

from ._gradient_worlds import Batch


class Estimate(NamedTuple):
    """Gradients along the directions, of the worlds of a batch that count."""

    gradients: Tensor
    """``[n, K]``."""
    left_out: int
    """Worlds of the batch that do not count: they left the finite range, or their gradient is not finite."""


Estimator = Callable[[Batch], Tensor]
"""Gradients ``[N, K]`` of a batch whose worlds were all within the finite range."""


def estimate(name: str, batch: Batch) -> Estimate:
    """The gradients of one estimator.

    Worlds outside of the finite range never count. A world whose gradient through the simulator is not finite does not
    count where that gradient is all there is; a mixture does with it what the algorithm does.
    """
    keep = batch.fine & ~batch.blocked.any(0) if name in NEED_FINITE else batch.fine
    batch = batch.of(keep)
    # A mixture needs a variance over worlds, and a baseline another world.
    found = ESTIMATORS[name](batch) if int(keep.sum()) > 1 else batch.basis.new_zeros((0, len(batch.basis)))
    found = found[gradest.finite_mask(found)] if len(found) else found
    return Estimate(found, len(keep) - len(found))


def first(batch: Batch) -> Tensor:
    """First order, reparameterised: through the simulator, as SHAC and APG go."""
    return _along(batch, _by_policy(batch))


def likelihood_ratio(batch: Batch) -> Tensor:
    """Zeroth order: scores, weighted by the rewards to go."""
    return _along(batch, _scores(batch) * _to_go(batch)[..., None])


def with_baseline(batch: Batch) -> Tensor:
    """The same, less the mean reward to go of the other worlds in the same step."""
    return _along(batch, _scores(batch) * _advantage(batch)[..., None])


def aobg(batch: Batch) -> Tensor:
    """AoBG without a tolerance: the means of first order and of zeroth order with baseline, by inverse variance."""
    f, z = first(batch), with_baseline(batch)
    return gradest.mix_gradients(f, z, float(gradest.inverse_variance_gradient(f, z).alpha))


def ivwh(batch: Batch) -> Tensor:
    """IVW-H: every step's two gradients by each action, by inverse variance, each component with its weight."""
    return _per_step(batch, IVWHConfig())


def ddcg(batch: Batch) -> Tensor:
    """DDCG: IVW-H where a test finds the returns continuous in the noise, else zeroth order with baseline."""
    return _per_step(batch, DDCGConfig())


ESTIMATORS: dict[str, Estimator] = {
    "first": first,
    "lr": likelihood_ratio,
    "lr-baseline": with_baseline,
    "aobg": aobg,
    "ivwh": ivwh,
    "ddcg": ddcg,
}
NEED_FINITE = ("first", "aobg")


def _per_step(batch: Batch, config: PerStepConfig) -> Tensor:
    residual = batch.reward - batch.calm
    samples = Samples.of(torch, _advantage(batch), residual, batch.eps, batch.std, batch.taken)
    return _along(batch, mix(torch, config, batch.by_action, batch.blocked, samples).gradient)


def _by_policy(batch: Batch) -> Tensor:
    """Gradients by mean and log deviation of every action, ``[H, N, 2 na]``."""
    return torch.cat([batch.by_action, batch.by_action * batch.std * batch.eps], dim=-1)


def _scores(batch: Batch) -> Tensor:
    """Gradients of the log density of every action by its mean and log deviation, ``[H, N, 2 na]``."""
    score = torch.cat([batch.eps / batch.std, batch.eps**2 - 1.0], dim=-1)
    return torch.where(batch.taken[..., None], score, 0.0)


def _to_go(batch: Batch) -> Tensor:
    """``[H, N]``: rewards from each step on, discounted from the first step."""
    return gradest.discounted_returns(batch.reward, torch.zeros_like(batch.taken), gamma=1.0)


def _advantage(batch: Batch) -> Tensor:
    to_go = _to_go(batch)
    return to_go - gradest.leave_one_out_baseline(to_go)


def _along(batch: Batch, by_policy: Tensor) -> Tensor:
    """From gradients by mean and log deviation ``[H, N, 2 na]`` to those along the directions, ``[N, K]``."""
    return torch.einsum("tnc,ktnc->nk", by_policy, batch.basis)
