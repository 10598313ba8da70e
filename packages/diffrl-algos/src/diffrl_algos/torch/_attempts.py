"""A phase of learning that is taken back where it did harm, and tried again with smaller steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ._adam import Adam

_STEP = 1.5
"""What a failed attempt divides its rate by, as in GI-PPO's released code."""

Try = Callable[[Tensor, Adam, float], tuple[Adam, Tensor, Tensor]]
"""``(params, adam, rate) -> (adam, loss of the first pass, loss of the last)``, in place on ``params`` and ``adam``.

A pass knows its loss before it steps, so that the last loss says nothing of where the last step went.
"""


class Phase(NamedTuple):
    """What came of a phase."""

    params: Tensor
    adam: Adam
    rate: float
    """Learning rate to begin with next time."""
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
    left: Callable[[Tensor], Tensor] | None = None,
) -> Phase:
    """Try a phase until it leaves its loss no higher than it found it, with smaller steps each time.

    A loss that is not a number counts as higher. Parameters are put back before each attempt, moments are not: the
    second moment remembers gradients that steps too large have met, for as long as its decay lets it, so that later
    attempts, and phases, take smaller steps in those directions and the same in others. A phase that succeeds leaves
    the rate as it was; ``most`` attempts in vain leave the parameters as they were and a rate 1.5 times less.

    Args:
        once: the phase.
        params: flat parameters; they stay as they are.
        adam: their moments; they stay as they are.
        rate: learning rate of the first attempt.
        most: attempts in all, at least 1.
        compound: divide the rate by 1.5 for each further attempt; otherwise once for all of them.
        rate_min: the rate left behind is not lowered below this.
        left: loss of the parameters that an attempt leaves, to judge it by in the place of the last pass's.
    """
    loss, trying = torch.zeros((), dtype=params.dtype, device=params.device), rate
    adam = adam.clone()
    for count in range(1, most + 1):
        tried = params.clone()
        adam, before, loss = once(tried, adam, trying)
        if left is not None:
            with torch.no_grad():
                loss = left(tried)
        if bool(loss <= before):
            return Phase(tried, adam, rate, True, count, loss)
        trying = (trying if compound else rate) / _STEP
    return Phase(params, adam, max(rate / _STEP, min(rate, rate_min)), False, most, loss)
