"""What tests of learning share."""

from __future__ import annotations

from diffrl_algos import evaluate, train


def before_and_after(algorithm, env, *, episodes=32):
    """Mean return before and after training for the configuration's budget, and the state it ended in."""
    start = algorithm.init(env, 0)
    end = train(algorithm, env, state=start).state
    before, after = (
        evaluate(env, algorithm.policy(state), episodes=episodes, seed=99).return_mean for state in (start, end)
    )
    return before, after, end
