"""A phase of learning that is undone if it raised its loss, and repeated with smaller steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ._adam import Adam

_STEP = 1.5
"""The rate is divided by this after a failed attempt, as in GI-PPO's released code."""
_GROWTH = _STEP**0.25
"""A remembered rate is multiplied by this after a phase that needed one attempt: at most one in five needs a second."""

Try = Callable[[Tensor, Adam, float], tuple[Adam, Tensor, Tensor]]
"""``(params, adam, rate) -> (adam, loss of the first epoch, loss of the last)``, in place on ``params`` and ``adam``.

An epoch's loss is computed before its step, so the last loss does not contain the effect of the last step.
"""


class Phase(NamedTuple):
    """The result of a phase."""

    params: Tensor
    adam: Adam
    rate: float
    """Learning rate to start with next time."""
    succeeded: bool
    attempts: int
    loss: Tensor


def attempt(
    once: Try,
    params: Tensor,
    adam: Adam,
    rate: float,
    *,
    most: int,
    compound: bool,
    rate_min: float = 0.0,
    rate_max: float | None = None,
    result: Callable[[Tensor], Tensor] | None = None,
) -> Phase:
    """Repeat a phase with smaller steps until its loss has not risen.

    A loss that is not a number counts as risen. Parameters are restored before each attempt, moments are not: the
    second moment remembers the large gradients that too large steps have met, so later attempts and phases take smaller
    steps in those directions and the same in others. A phase that succeeds leaves the rate as it was; with ``rate_max``
    it leaves the rate that succeeded. If ``most`` attempts fail, the parameters stay as they were and the rate
    becomes 1.5 times smaller.

    Args:
        once: the phase.
        params: flat parameters; they stay as they are.
        adam: their moments; they stay as they are.
        rate: learning rate of the first attempt.
        most: attempts in all, at least 1.
        compound: divide the rate by 1.5 for each further attempt; otherwise once for all of them.
        rate_min: lower bound of the resulting rate.
        rate_max: remember the rate of the attempt that succeeded for the next phase, and let it grow up to this.
        result: loss of given parameters; with it, an attempt is judged by its final parameters, not by the loss of its
            last epoch.
    """
    loss, trying = torch.zeros((), dtype=params.dtype, device=params.device), rate
    adam = adam.clone()
    for count in range(1, most + 1):
        tried = params.clone()
        adam, before, loss = once(tried, adam, trying)
        if result is not None:
            with torch.no_grad():
                loss = result(tried)
        if bool(loss <= before):
            if rate_max is not None:
                rate = min(trying * _GROWTH, rate_max) if count == 1 else trying
            return Phase(tried, adam, rate, True, count, loss)
        trying = (trying if compound else rate) / _STEP
    return Phase(params, adam, max(rate / _STEP, min(rate, rate_min)), False, most, loss)
