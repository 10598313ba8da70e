"""An algorithm and a horizon for what was found, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import gradest

from ._measures import Measure
from ._verdict import BAD, Thresholds, Verdict

ENOUGH = 8
"""Horizon from which on first-order gradients alone are worth their price [control steps]."""
_MIXED, _MOST = 0.25, 0.75
"""Share of bad steps from which on a method that weighs the steps is worth a try, and of good ones that are most."""
_ABOUT = {
    "shac": "first-order gradients of short windows, with a critic for what follows",
    "sapo": "as SHAC, with entropy: where exploration is scarce",
    "rpo": "reuses each window for several epochs: where a step of the simulator costs more than one of the networks",
    "ahac": "adapts its horizon to the stiffness of the steps",
    "agpo": "weighs the simulator's gradient against a Q function's by their variances",
    "aobg": "weighs both orders, and leaves the first where a test finds it biased",
    "ivwh": "weighs both orders by their variances, step by step",
    "ddcg": "leaves the first order at the steps where a test of its variance fails",
    "ppo": "needs no gradient of the simulator",
    "sac": "needs none either, and reuses its steps",
}


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to train with."""

    algorithm: str
    horizon: int | None
    """Control steps of a window; None: the algorithm's own."""
    reasons: tuple[str, ...]
    alternatives: tuple[tuple[str, str], ...]
    """Other algorithms, and when to take them."""
    doubts: tuple[str, ...]
    """What the samples do not say; empty if they say enough."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "alternatives": dict(self.alternatives)}


def recommend(
    lookaheads: Sequence[int],
    pooled: Sequence[tuple[Measure, Verdict]],
    steps: Sequence[Sequence[Verdict]],
    thresholds: Thresholds,
    known: Collection[str],
) -> Recommendation:
    """The algorithm and horizon that fit.

    Args:
        lookaheads: ``L`` horizons [control steps], rising.
        pooled: what all steps together say, for each lookahead.
        steps: ``[S][L]`` what each step says.
        thresholds: where the verdicts come from.
        known: names of the algorithms that exist.
    """
    words: list[Verdict] = [word for _, word in pooled]
    trusted = _leading(lookaheads, words, [word == "trustworthy" for word in words])
    useful = _leading(lookaheads, words, [_useful(m, word, thresholds) for m, word in pooled])
    usual = _leading(lookaheads, words, [_share(steps, k, "trustworthy") >= _MOST for k in range(len(words))])
    if trusted >= min(ENOUGH, lookaheads[-1]):
        k = lookaheads.index(trusted)
        bad = _bad(steps, k)
        chosen, horizon, others = "shac", trusted, ["sapo", "rpo"]
        reasons = [
            f"over {_steps(trusted)} first-order gradients are trustworthy ({described(pooled[k][0])})",
            *_limit(lookaheads, pooled, k + 1),
        ]
        if bad >= _MIXED:
            others = ["agpo", "ivwh", *others]
            reasons.append(f"at {bad:.0%} of the steps they are not: compare with a method that weighs the steps")
    elif useful or usual:
        horizon = max(useful, usual)
        k = lookaheads.index(horizon)
        after = min(lookaheads.index(trusted) + 1 if trusted else 0, len(pooled) - 1)
        why = _usual(words[after:]) or _usual([row[k] for row in steps])
        chosen, others = ("aobg", ["ddcg", "agpo"]) if why == "biased" else ("agpo", ["ivwh", "aobg", "ahac"])
        reasons = [
            f"first-order gradients of all steps together are trustworthy over {_steps(trusted)} only"
            if trusted
            else "first-order gradients of all steps together are not trustworthy at any lookahead",
            *_limit(lookaheads, pooled, after),
        ]
        if usual > trusted:
            share = _share(steps, lookaheads.index(usual), "trustworthy")
            reasons.append(
                f"at {share:.0%} of the steps they are, over {_steps(usual)}: a few states spoil the mean, "
                "so weigh the steps"
            )
        if useful > trusted:
            gain = pooled[lookaheads.index(useful)][0]
            reasons.append(
                f"a step along them still raises the return over {_steps(useful)} "
                f"(by {magnitude(gain.gained)} ± {magnitude(gain.gained_error)}), so do not give them up"
            )
    else:
        chosen, horizon, others = "ppo", None, ["sac"]
        reasons = ["no lookahead has a first-order gradient that raises the return", *_limit(lookaheads, pooled, 0)]
    others = [name for name in others if name in known]
    return Recommendation(
        algorithm=chosen,
        horizon=horizon,
        reasons=tuple(reasons),
        alternatives=tuple((name, _ABOUT[name]) for name in others),
        doubts=tuple(_doubts(lookaheads, pooled)),
    )


def about(algorithm: str) -> str:
    """What an algorithm does, in a few words."""
    return _ABOUT[algorithm]


def described(m: Measure) -> str:
    """The deciding figures in words."""
    parts = []
    if m.cosine is not None:
        error = "" if m.cosine_error is None else f" ± {m.cosine_error:.2f}"
        parts.append(f"cosine {m.cosine:.2f}{error}")
    if m.snr is not None:
        parts.append(f"signal to noise {magnitude(max(m.snr, 0.0))}, of the likelihood ratio {magnitude(m.snr_zeroth)}")
    if m.lost:
        parts.append(f"{m.lost:.0%} lost")
    return ", ".join(parts) or "no figures"


def magnitude(value: float | None) -> str:
    """A number with two digits: ``0.31``, ``1,200``, ``3e-05``; ``-`` for None."""
    if value is None:
        return "-"
    if value >= 0.99e9:
        return "no noise"
    return f"{value:,.0f}" if 100 <= abs(value) < 1e6 else f"{value:.2g}"


def _leading(lookaheads: Sequence[int], words: Sequence[Verdict], fine: Sequence[bool]) -> int:
    """The longest lookahead up to which all are fine or flat, and one is fine; 0 if there is none."""
    either = [good or word == "flat" for good, word in zip(fine, words, strict=True)]
    count = int(gradest.horizon_of_trust(np.where(either, 1.0, -1.0)))
    return lookaheads[count - 1] if any(fine[:count]) else 0


def _useful(m: Measure, word: Verdict, t: Thresholds) -> bool:
    """Whether a step along the gradient raises the return by more than chance."""
    raised = m.gained is not None and m.gained_error is not None and m.gained > t.errors * m.gained_error
    return raised and word != "lost"


def _bad(steps: Sequence[Sequence[Verdict]], k: int) -> float:
    """Share of bad steps at a lookahead, of those that are clear."""
    clear = [row[k] for row in steps if row[k] not in ("unclear", "flat")]
    return sum(word in BAD for word in clear) / len(clear) if clear else 0.0


def _share(steps: Sequence[Sequence[Verdict]], k: int, word: Verdict) -> float:
    """Share of the steps with a verdict."""
    return sum(row[k] == word for row in steps) / len(steps)


def _usual(words: Sequence[Verdict]) -> Verdict | None:
    """The most frequent bad word, the first one where several are; None where none is bad."""
    counts: Counter[Verdict] = Counter(word for word in words if word in BAD)
    return counts.most_common(1)[0][0] if counts else None


def _limit(lookaheads: Sequence[int], pooled: Sequence[tuple[Measure, Verdict]], k: int) -> list[str]:
    """What is wrong at a lookahead, if anything is."""
    if k >= len(pooled) or pooled[k][1] not in BAD:
        return []
    return [f"over {_steps(lookaheads[k])} they are {pooled[k][1]} ({described(pooled[k][0])})"]


def _doubts(lookaheads: Sequence[int], pooled: Sequence[tuple[Measure, Verdict]]) -> list[str]:
    unclear = [lookahead for lookahead, (_, word) in zip(lookaheads, pooled, strict=True) if word == "unclear"]
    if not unclear:
        return []
    which = ", ".join(map(str, unclear))
    return [f"the samples are too few to tell at lookaheads of {which} steps; repeat with more --samples or --num-envs"]


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
