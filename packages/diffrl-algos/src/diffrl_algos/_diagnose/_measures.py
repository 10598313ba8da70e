"""The figures of a step and lookahead, or of several steps together, with their standard errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from ._moments import NONE, Gain, Moments, Numbers, Pairs, moments, without

_FAR, _MOST = 10.0, 1e9


class Cell(NamedTuple):
    """What was found at one step for one lookahead."""

    pairs: Pairs
    gain: Gain


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How good first-order gradients are. A number is None where the samples do not give it."""

    rollouts: int
    """Roll-outs with gradients that were compared."""
    lost: float
    """Share of them whose gradient is not finite or too large to pass, or whose world left the finite range."""
    outliers: float
    """Share of the other gradients that are over ten times as long as the median."""
    snr: float | None
    """Signal to noise of the first-order gradient of one roll-out: ``|E g|^2`` over the trace of its variance. By
    chance it may be below 0, because noise was subtracted from the signal."""
    snr_error: float | None
    """Standard error of its signal, over its noise."""
    snr_zeroth: float | None
    """The signal to noise of the likelihood ratio of the same roll-outs."""
    snr_zeroth_error: float | None
    cosine: float | None
    """Cosine between the expected gradients of both orders, of which the zeroth is unbiased; free of noise."""
    cosine_error: float | None
    length: float | None
    """Length of the expected first-order gradient over that of the zeroth order."""
    gained: float | None
    """Mean change of the return by a step of 0.2 standard deviations along the mean first-order gradient [reward]."""
    gained_error: float | None
    promised: float | None
    """The change that the gradient says [reward]."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(cells: Sequence[Cell]) -> Measure:
    """The figures of some steps together, by sums over their states; of one step, its errors are over its pairs.

    Errors of several steps are over steps, so that they include how much the steps differ.
    """
    each = [moments(cell.pairs) for cell in cells]
    total = reduce(add, each, NONE)
    if len(cells) > 1:
        fewer = [total - one for one in each]
    else:
        pairs = cells[0].pairs
        fewer = [moments(without(pairs, k)) for k in range(pairs.eps.shape[1])]
    gained, gained_error = _gained(cells)
    promised = np.concatenate([cell.gain.promised for cell in cells])
    return Measure(
        rollouts=sum(cell.pairs.usable.size for cell in cells),
        lost=float(np.mean(np.concatenate([~cell.pairs.usable.ravel() for cell in cells]))),
        outliers=_outliers(cells),
        snr=_ratio(total.first, total.first, total.first_noise),
        snr_error=_ratio(_jackknife(lambda m: m.first, total, fewer), total.first, total.first_noise),
        snr_zeroth=_ratio(total.zeroth, total.zeroth, total.ratio_noise),
        snr_zeroth_error=_ratio(_jackknife(lambda m: m.zeroth, total, fewer), total.zeroth, total.ratio_noise),
        cosine=None if (found := _cosine(total)) is None else float(np.clip(found, -1.0, 1.0)),
        cosine_error=_jackknife(_cosine, total, fewer),
        length=None if total.first <= 0 or total.zeroth <= 0 else float(np.sqrt(total.first / total.zeroth)),
        gained=gained,
        gained_error=gained_error,
        promised=_mean(promised),
    )


def _cosine(m: Moments) -> float | None:
    return m.dot / float(np.sqrt(m.first * m.zeroth)) if m.first > 0 and m.zeroth > 0 else None


def _jackknife(figure: Callable[[Moments], float | None], total: Moments, fewer: Sequence[Moments]) -> float | None:
    """Standard error from the figures without one part each; None where one of them is not known."""
    values = [figure(m) for m in fewer]
    known = np.array([value for value in values if value is not None])
    if figure(total) is None or len(known) < max(2, len(values)):
        return None
    n = len(known)
    return float(np.sqrt((n - 1) / n * ((known - known.mean()) ** 2).sum()))


def _gained(cells: Sequence[Cell]) -> tuple[float | None, float | None]:
    """Mean gain and its standard error: over steps, or over the roll-outs of one step."""
    parts: list[Numbers] = [cell.gain.gained for cell in cells]
    values = parts[0].ravel() if len(parts) == 1 else np.array([_nanmean(part) for part in parts])
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return float(values.mean()), error


def _outliers(cells: Sequence[Cell]) -> float:
    """Of each step apart, since lengths differ from step to step."""
    far = count = 0
    for cell in cells:
        lengths = np.sqrt((cell.pairs.gradient[cell.pairs.usable] ** 2).sum(-1))
        count += len(lengths)
        far += int((lengths > _FAR * np.median(lengths)).sum()) if len(lengths) else 0
    return far / count if count else 0.0


def _ratio(part: float | None, signal: float, noise: float) -> float | None:
    """``part / noise``; without noise, as if it were a billionth of the signal. None where there is neither."""
    noise = max(noise, abs(signal) / _MOST)
    return part / noise if part is not None and noise > 0 else None


def _nanmean(x: Numbers) -> float:
    x = x[np.isfinite(x)]
    return float(x.mean()) if len(x) else float("nan")


def _mean(x: Numbers) -> float | None:
    value = _nanmean(x)
    return value if np.isfinite(value) else None
