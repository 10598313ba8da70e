"""What tests of learning share."""

from __future__ import annotations

from diffrl_algos import evaluate, train

POINT_MASS = {
    "iterations": 60,
    "horizon": 16,
    "actor_hidden": (32,),
    "critic_hidden": (32,),
    "actor_lr": 2e-2,
    "critic_lr": 5e-3,
    "critic_iterations": 4,
}
"""With this, algorithms with a critic learn to control a point mass."""


def before_and_after(algorithm, env, *, episodes=32):
    """Mean return before and after training for the configuration's budget, and the state it ended in."""
    start = algorithm.init(env, 0)
    end = train(algorithm, env, state=start).state
    before, after = (
        evaluate(env, algorithm.policy(state), episodes=episodes, seed=99).return_mean for state in (start, end)
    )
    return before, after, end
