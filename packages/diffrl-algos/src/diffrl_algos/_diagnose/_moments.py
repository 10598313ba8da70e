"""What samples of two gradient estimators say about their means: lengths, direction and noise, free of selection.

``f_i`` is the first-order gradient of pair ``i`` of roll-outs, ``z_i`` its zeroth-order one. ``|mean|^2`` of few noisy
samples is too long by their variance; the products here are over different pairs only, so that their expectations are
``|E f|^2``, ``|E z|^2`` and ``E f . E z``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Numbers = np.ndarray[Any, Any]


class Pairs(NamedTuple):
    """Antithetic pairs of roll-outs from ``W`` states, ``P`` from each: the first noise of the second is minus that of
    the first, and all later noise is the same. In units of the noise: ``u = mu + sigma (eps + delta)``."""

    eps: Numbers
    """``[W, P, na]`` first noise of the first roll-out."""
    gradient: Numbers
    """``[W, P, 2, na]`` derivative of each return with respect to ``delta``."""
    returns: Numbers
    """``[W, P, 2]``"""
    fine: Numbers
    """``[W, P, 2]`` bool: the return is finite, and the world stayed in the finite range."""
    usable: Numbers
    """``[W, P, 2]`` bool: fine, and the gradient is finite and not so large that training would block it."""

    @property
    def known(self) -> Numbers:
        """``[W, P]`` bool: both roll-outs are fine."""
        return np.all(self.fine, axis=-1)

    @property
    def passed(self) -> Numbers:
        """``[W, P]`` bool: both gradients are usable."""
        return np.all(self.usable, axis=-1)


class Gain(NamedTuple):
    """Change of the return in fresh noise, by a step of 0.2 standard deviations along each state's mean gradient."""

    gained: Numbers
    """``[W, M]`` each roll-out's return with the step, minus that without it; NaN where one is not finite."""
    promised: Numbers
    """``[W]`` what the gradient says it would be; NaN where it says nothing."""


class Moments(NamedTuple):
    """Sums over states; all of them add up over steps."""

    first: float
    """``|E f|^2``"""
    zeroth: float
    """``|E z|^2``"""
    dot: float
    """``E f . E z``"""
    first_noise: float
    """Trace of the variance of the first-order gradient of one roll-out."""
    ratio_noise: float
    """The same of the likelihood ratio ``(G - b) eps``, ``b`` the mean of the other roll-outs."""

    def __add__(self, other: Moments) -> Moments:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Moments(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: Moments) -> Moments:
        return Moments(*(a - b for a, b in zip(self, other, strict=True)))


NONE = Moments(0.0, 0.0, 0.0, 0.0, 0.0)


def moments(pairs: Pairs) -> Moments:
    """The moments of one step and lookahead; a state with fewer than two pairs adds nothing."""
    f, z = pairwise(pairs)
    passed, known = pairs.passed, pairs.known
    first, count = _square(f, passed)
    zeroth = _zeroth_square(pairs)
    both = (f * z).sum(-1) * (passed & known)
    pairings = passed.sum(1) * known.sum(1) - (passed & known).sum(1)
    dot = _over(((f * passed[..., None]).sum(1) * (z * known[..., None]).sum(1)).sum(-1) - both.sum(1), pairings)
    lengths = (pairs.gradient**2).sum(-1).mean(-1)
    size = _over((np.where(passed, lengths, 0.0)).sum(1), passed.sum(1))
    scores = _likelihood_ratio(pairs)
    score_size = _over(np.where(known, (scores**2).sum(-1).mean(-1), 0.0).sum(1), known.sum(1))
    enough = count > 0
    return Moments(
        float(first.sum()),
        float(zeroth.sum()),
        float(dot.sum()),
        float((size - first)[enough].sum()),
        float((score_size - zeroth)[known.sum(1) > 1].sum()),
    )


def pairwise(pairs: Pairs) -> tuple[Numbers, Numbers]:
    """First- and zeroth-order gradient of each pair, both ``[W, P, na]``.

    The zeroth order is ``(G+ - G-) / 2 eps``: central differences at the width of the policy's own noise, whose
    expectation is the gradient of the expected return, whatever the return looks like. Most of its variance is that of
    the linear part, which the first-order gradient predicts. That part is subtracted and its expectation added,
    ``c ((v . eps) eps - v)``, with ``v`` the mean first-order gradient of the other pairs and ``c`` their regression of
    the differences on its predictions: the expectation stays, because neither depends on this pair.
    """
    passed = pairs.passed[..., None]
    f = np.where(passed, pairs.gradient.mean(2), 0.0)
    returns = np.where(pairs.known[..., None], pairs.returns, 0.0)
    d = 0.5 * (returns[..., 0] - returns[..., 1])
    others = pairs.passed.sum(1)[:, None] - pairs.passed
    v = (f.sum(1, keepdims=True) - f) / np.maximum(others, 1)[..., None]
    predicted = np.einsum("wia,wja->wij", v, pairs.eps)
    counts = pairs.known[:, None, :] & ~np.eye(f.shape[1], dtype=bool)
    slope = _over((predicted * d[:, None, :] * counts).sum(-1), (predicted**2 * counts).sum(-1))
    own = np.diagonal(predicted, axis1=1, axis2=2)[..., None] * pairs.eps
    return f, np.where(pairs.known[..., None], d[..., None] * pairs.eps - slope[..., None] * (own - v), 0.0)


def _likelihood_ratio(pairs: Pairs) -> Numbers:
    """``(G - b) eps`` of each roll-out ``[W, P, 2, na]``, ``b`` the mean return of its kind in the other pairs."""
    known = pairs.known[..., None]
    returns = np.where(known, pairs.returns, 0.0)
    others = np.maximum(known.sum(1, keepdims=True) - known, 1)
    baseline = (returns.sum(1, keepdims=True) - returns) / others
    signs = np.array([1.0, -1.0])
    return ((returns - baseline) * signs)[..., None] * pairs.eps[:, :, None, :]


def _square(x: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """``|E x|^2`` of each state from products of different pairs, and the number of those, both ``[W]``."""
    x = x * counts[..., None]
    total = (x.sum(1) ** 2).sum(-1) - (x**2).sum((1, 2))
    n = counts.sum(1)
    return _over(total, n * (n - 1)), n * (n - 1)


def _over(a: Numbers, b: Numbers) -> Numbers:
    """``a / b``, and 0 where ``b`` is."""
    return np.where(b > 0, a / np.where(b > 0, b, 1), 0.0)


def _zeroth_square(pairs: Pairs) -> Numbers:
    """``|E z|^2`` of each state ``[W]``, from products of two halves of the pairs that know nothing of each other.

    Over all pairs, the first-order gradients that steer one ``z`` would be part of those that steer the other, and the
    square too long: by a twelfth with eight pairs of a cubic return. It is the mean of two ways to halve them.
    """
    index = np.arange(pairs.eps.shape[1])
    found = []
    for half in (index % 2 == 0, index < len(index) // 2):
        parts = [Pairs(*(part[:, side] for part in pairs)) for side in (half, ~half)]
        means = [_over(pairwise(part)[1].sum(1), part.known.sum(1)[:, None]) for part in parts]
        found.append((means[0] * means[1]).sum(-1))
    return np.mean(found, axis=0)


def without(pairs: Pairs, index: int) -> Pairs:
    """All states without their pair ``index``, for a jackknife."""
    return Pairs(*(np.delete(part, index, axis=1) for part in pairs))
