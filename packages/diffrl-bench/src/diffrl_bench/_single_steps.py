"""Single steps of a trained AGPO run: their values, and their gradients by three estimators (Gao et al. 2024).

All gradients are with respect to the action before tanh, ``u = mu(x) + sigma eps``, the last node that the estimators
share. There the policy is a Gaussian, as in the paper's Appendix B.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import gradest
from diffrl_algos import AGPOConfig, RunError
from diffrl_algos._run import Run
from diffrl_algos._states import restore
from diffrl_algos.torch import AGPO
from diffrl_algos.torch._critic import Critic
from diffrl_algos.torch._distributions import Gaussian
from diffrl_algos.torch._normalize import Normalizer
from diffrl_algos.torch._policy import GaussianActor
from diffrl_algos.torch._window import normal
from diffsim_core import Env, EnvState, stop_gradient

from ._stopwatch import Progress, unseen


@dataclass(frozen=True)
class Trained:
    """Policy and Q functions of a run, and worlds to try them in."""

    config: AGPOConfig
    env: Env
    actor: GaussianActor
    flat: Tensor
    """Parameters of the actor ``[P]``."""
    critic: Critic
    target: Tensor
    """Parameters of the target Q functions, which AGPO takes its gradients from."""
    normalize: Normalizer
    about: dict[str, Any]
    """What was trained, for a report."""

    def policy(self, flat: Tensor, obs: Tensor) -> Gaussian:
        """Distribution of the action before tanh, with parameters ``flat``."""
        return self.actor(self.actor.split(flat), self.normalize(obs))

    def q(self, obs: Tensor, action: Tensor) -> Tensor:
        """The least of the target Q functions ``[N]``."""
        return self.critic(self.target, torch.cat([self.normalize(obs), action], dim=-1)).amin(0)


class Step(NamedTuple):
    """Where a step of a roll-out starts, and its noise."""

    state: EnvState
    obs: Tensor
    """``[N, no]``"""
    eps: Tensor
    """``[N, na]`` of the action."""
    eps_next: Tensor
    """``[N, na]`` of the action after it, ``u'`` of Eq. 1."""


class Gradients(NamedTuple):
    """Gradients of one step with respect to the action before tanh, each ``[N, na]``."""

    sg: Tensor
    """Simulation gradient, of ``r + gamma Q(x', u')`` (Eq. 1)."""
    qg: Tensor
    """Q gradient, of ``Q(x, u)`` (Eq. 2)."""
    pg: Tensor
    """Policy gradient, ``grad log pi(u | x) (Q(x, u) - Q(x, mu(x)))`` with respect to the mean (Appendix B)."""
    counts: Tensor
    """``[N]`` bool: the world goes on after the step, and ``sg`` is finite. AGPO leaves out the same worlds."""
    not_finite: int
    """Worlds that go on and whose ``sg`` is not finite."""


def open_trained(path: Path, *, num_envs: int, checkpoint: str = "last") -> Trained:
    """The policy and the Q functions of a run folder, with ``num_envs`` new worlds of its task.

    Raises:
        RunError: ``path`` is no run folder, or its run was not of AGPO in torch.
        CheckpointError: the checkpoint is damaged or missing.
        ValueError: ``num_envs`` is less than 2.
    """
    if num_envs < 2:
        raise ValueError(f"num_envs is {num_envs}; variances over worlds need at least 2")
    run = Run.open(path)
    spec = run.spec
    if spec.algorithm != AGPO.name or spec.entry.arrays != "torch":
        made = f"{spec.algorithm} in {spec.entry.arrays}"
        raise RunError(
            f"{path} was trained with {made}; this takes the policy and the Q functions of agpo in torch: "
            f"diffrl train agpo {spec.task} --out RUN"
        )
    algorithm: AGPO = spec.build()
    state, manifest = restore(run, checkpoint)
    described = spec.to_json()
    about = {key: described[key] for key in ("algorithm", "task", "task_options", "seed", "num_envs")}
    return Trained(
        config=spec.config,
        env=spec.make_env(num_envs),
        actor=algorithm.actor(state.env),
        flat=state.actor,
        critic=algorithm.critic(state.env),
        target=state.target,
        normalize=state.run.normalizer(spec.config),
        about={**about, "iteration": manifest.iteration},
    )


@torch.no_grad()
def roll_out(trained: Trained, steps: int, *, seed: int, progress: Progress = unseen) -> list[Step]:
    """Where the steps of a roll-out of the stochastic policy start.

    Raises:
        ValueError: ``steps`` is less than 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    env = trained.env
    state, obs = env.reset(seed)
    assert isinstance(obs, Tensor), "AGPO observes one vector"
    generator = torch.Generator(obs.device).manual_seed(seed)
    noise = normal(generator, obs, steps, 2, env.num_envs, env.spec.num_actions)
    found: list[Step] = []
    for k, (eps, eps_next) in enumerate(noise):
        progress("roll-out", k / steps)
        found.append(Step(state, obs, eps, eps_next))
        state, transition = env.step(state, torch.tanh(draw(trained.policy(trained.flat, obs), eps)))
        obs = transition.obs
    return found


def draw(policy: Gaussian, eps: Tensor) -> Tensor:
    """Actions before tanh from their noise."""
    return policy.mean + eps * policy.logstd.exp()


class Simulated(NamedTuple):
    """The value of actions by a step of the simulator."""

    value: Tensor
    """``[N]``: ``r + gamma Q(x', u')``, rewards times ``reward_scale``, without Q where the task itself ended."""
    valid: Tensor
    """``[N]`` bool: the world stayed in the finite range."""
    done: Tensor
    """``[N]`` bool: a new episode follows."""


def simulate(trained: Trained, step: Step, flat: Tensor, u: Tensor) -> Simulated:
    """The value of the actions ``u [N, na]`` before tanh; ``flat`` are the parameters of the policy that goes on."""
    c = trained.config
    after: Any
    _, after = trained.env.step(stop_gradient(step.state), torch.tanh(u))
    next_action = torch.tanh(draw(trained.policy(flat, after.final_obs), step.eps_next))
    follows = trained.q(after.final_obs, next_action)
    value = c.reward_scale * after.reward + c.gamma * torch.where(after.terminated, 0.0, follows)
    valid = ~after.diverged if after.valid is None else after.valid
    return Simulated(value, valid, after.terminated | after.truncated)


def gradients(trained: Trained, step: Step) -> Gradients:
    """The gradients of one step in every world, by each estimator."""
    with torch.no_grad():
        policy = trained.policy(trained.flat, step.obs)
    u = draw(policy, step.eps).requires_grad_()
    simulated = simulate(trained, step, trained.flat, u)
    (sg,) = torch.autograd.grad(simulated.value[simulated.valid].sum(), u)
    value = trained.q(step.obs, torch.tanh(u))
    (qg,) = torch.autograd.grad(value.sum(), u)
    with torch.no_grad():
        advantage = value - trained.q(step.obs, torch.tanh(policy.mean))
        pg = gradest.likelihood_ratio_gradients(score(policy, u), advantage)
    goes_on, finite = simulated.valid & ~simulated.done, gradest.finite_mask(sg)
    return Gradients(sg, qg, pg, goes_on & finite, int((goes_on & ~finite).sum()))


def score(policy: Gaussian, u: Tensor) -> Tensor:
    """``grad log N(u; mu, sigma)`` with respect to the mean ``[N, na]``: ``(u - mu) / sigma^2``."""
    return (u - policy.mean) * torch.exp(-2.0 * policy.logstd)


def ratio(trained: Trained, found: Gradients, zeroth: Tensor) -> float:
    """Weight of the simulator's gradient in its mixture with ``zeroth`` (Eq. 3); 0 where one is not finite."""
    c = trained.config
    valid = found.counts if not found.not_finite or c.nonfinite == "mask" else torch.zeros_like(found.counts)
    return float(gradest.adaptive_ratio(found.sg, zeroth, valid, variance=c.variance))
