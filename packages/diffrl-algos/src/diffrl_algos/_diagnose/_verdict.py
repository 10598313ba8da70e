"""What the figures of a step and lookahead mean, in one word."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ._measures import Measure

Verdict = Literal["trustworthy", "biased", "noisy", "lost", "flat", "unclear"]
MEANINGS: dict[Verdict, str] = {
    "trustworthy": "it points where the return grows, and above the noise",
    "biased": "it points elsewhere than the gradient of the expected return",
    "noisy": "its noise hides it, or is larger than that of the likelihood ratio",
    "lost": "it is not finite or too large to use, or the world diverges",
    "flat": "the action changes nothing within the lookahead",
    "unclear": "too few samples to tell",
}
BAD = ("biased", "noisy", "lost")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where one verdict ends and another begins."""

    lost: float = 0.1
    """Share of lost gradients from which on a gradient is lost."""
    cosine: float = 0.9
    """Cosine with the zeroth order from which on it is trustworthy."""
    cosine_error: float = 0.1
    """Largest standard error with which it is."""
    batch: int = 64
    """Roll-outs whose mean must be more signal than noise: the worlds of an update."""
    errors: float = 2.0
    """Standard errors by which a figure must differ to count as different."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def verdict(m: Measure, t: Thresholds) -> Verdict:
    """The first of lost, flat, noisy, biased and trustworthy that holds; unclear where the samples do not say."""
    if m.lost >= t.lost:
        return "lost"
    zeroth_seen = _above(m.snr_zeroth, m.snr_zeroth_error, 0.0, t)
    if m.snr is None:  # every gradient is exactly zero
        return "biased" if zeroth_seen else "flat"
    hidden = m.snr_error is not None and t.batch * (m.snr + t.errors * m.snr_error) < 1.0
    if hidden or (zeroth_seen and m.snr < (m.snr_zeroth or 0.0)):
        return "noisy"
    if not _above(m.snr, m.snr_error, 0.0, t):
        return "unclear"
    if _above(None if m.gained is None else -m.gained, m.gained_error, 0.0, t):
        return "biased"
    if not zeroth_seen or m.cosine is None or m.cosine_error is None:
        return "unclear"
    if _above(-m.cosine, m.cosine_error, -t.cosine, t):
        return "biased"
    return "trustworthy" if m.cosine >= t.cosine and m.cosine_error <= t.cosine_error else "unclear"


def _above(value: float | None, error: float | None, bound: float, t: Thresholds) -> bool:
    """Whether a figure is above a bound by its errors."""
    return value is not None and error is not None and value - t.errors * error > bound
