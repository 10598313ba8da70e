"""A policy gradient known in closed form: a Gaussian policy whose reward is a quadratic function of the action.

``a = mu + exp(s) eps`` with ``eps ~ N(0, I)``, and ``r(a) = c + b.a - a.H a / 2``. Then ``E r = c + b.mu - mu.H mu / 2
- sum_i H_ii exp(2 s_i) / 2``, and its gradient by ``(mu, s)`` is ``(b - H mu, -H_ii exp(2 s_i))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLES = 100_000


@dataclass(frozen=True)
class Quadratic:
    mu: np.ndarray
    log_std: np.ndarray
    H: np.ndarray
    b: np.ndarray
    c: float

    @classmethod
    def example(cls, dimension: int = 3, seed: int = 0) -> Quadratic:
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(dimension, dimension))
        b, mu, log_std = rng.normal(size=(3, dimension))
        return cls(mu, -0.5 + 0.2 * log_std, root @ root.T + 0.5 * np.eye(dimension), b, 2.0)

    @property
    def std(self) -> np.ndarray:
        return np.exp(self.log_std)

    def noise(self, seed: int, samples: int = SAMPLES) -> np.ndarray:
        return np.random.default_rng([seed, 77]).normal(size=(samples, len(self.mu)))

    def action(self, eps: np.ndarray) -> np.ndarray:
        return self.mu + self.std * eps

    def reward(self, action: np.ndarray) -> np.ndarray:
        return self.c + action @ self.b - 0.5 * np.einsum("ni,ij,nj->n", action, self.H, action)

    def reward_gradient(self, action: np.ndarray) -> np.ndarray:
        return self.b - action @ self.H

    def gradient(self) -> np.ndarray:
        """The policy gradient, ``[P]``: by ``mu``, then by ``log_std``."""
        return np.concatenate([self.b - self.H @ self.mu, -np.diag(self.H) * self.std**2])

    def score(self, eps: np.ndarray) -> np.ndarray:
        """``grad log pi``, ``[N, P]``."""
        return np.concatenate([eps / self.std, eps**2 - 1], axis=1)

    def log_prob(self, action: np.ndarray) -> np.ndarray:
        z = (action - self.mu) / self.std
        return -0.5 * (z**2).sum(-1) - self.log_std.sum() - 0.5 * len(self.mu) * np.log(2 * np.pi)

    def reparameterised(self, eps: np.ndarray) -> np.ndarray:
        """First-order gradient of each sample, ``[N, P]``: ``(dr/da, dr/da exp(s) eps)``."""
        by_action = self.reward_gradient(self.action(eps))
        return np.concatenate([by_action, by_action * self.std * eps], axis=1)


def assert_unbiased(estimates: np.ndarray, truth: np.ndarray, standard_errors: float = 3.0) -> None:
    """The mean of independent estimates ``[S, P]`` lies within so many standard errors of the truth, each component.

    Seeds are fixed. That the test can fail is seen to by ``test_the_bound_is_tight_enough``.
    """
    error = estimates.mean(0) - truth
    bound = standard_errors * estimates.std(0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(error) <= bound).all(), f"off by {np.abs(error) / bound * standard_errors} standard errors"
