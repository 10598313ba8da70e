"""Short windows, with steps as long as a bound on the KL divergence allows"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

import gradest
from diffrl_algos import AlgorithmEntry, CriticConfig, GaussianConfig, register_algorithm
from diffrl_algos.torch import Clock, CriticState, Learned, ValueLearner


@dataclass(frozen=True, kw_only=True)
class TrustConfig(GaussianConfig, CriticConfig):
    """Every field is an option of ``diffrl train trust``; the docstring under it is the help."""

    actor_lr: float = 1e-2
    """Learning rate of the actor at the first update; ``kl_max`` shortens the steps that it makes too long."""
    kl_max: float = 0.2
    """Largest mean KL divergence from the policy that acted to the new one [nat]."""
    tries: int = 8
    """Step lengths to choose from; each is half of the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.kl_max > 0.0 and self.tries >= 1):
            raise ValueError(f"kl_max is {self.kl_max} and tries is {self.tries}; both must be positive")


@dataclass(frozen=True)
class Trust(ValueLearner[TrustConfig, CriticState]):
    """SHAC's gradient (Xu et al. 2022, Eq. 5) with steps that are halved until the policy stays near the old one."""

    config: TrustConfig = field(default_factory=TrustConfig)
    name: ClassVar[str] = "trust"

    def learn(self, state: CriticState, generator: torch.Generator, clock: Clock) -> Learned:
        c, env = self.config, state.env

        # A window, the value of its end, and the step of Adam up the gradient of both.
        flat, normalize, window = self.explore(state, generator)
        steps, x = window.trajectory, normalize(window.trajectory.obs.detach())
        value_next = self.critic(env)(state.critic, normalize(steps.final_obs))[0]
        loss = -gradest.segment_objective(steps.reward, value_next, *window.ends, gamma=c.gamma)
        changes, metrics = self.descend(state, loss, flat, window)
        clock.lap("actor_s")

        # The longest fraction of the step that stays within the bound; 0 if none does.
        step, actor, acted = changes["actor"] - state.actor, self.actor(env), window.policy.detach()
        fractions = 0.5 ** torch.arange(c.tries, dtype=step.dtype, device=step.device)
        kl = [acted.kl(actor(actor.split(state.actor + f * step), x)).mean() for f in fractions]
        fraction = torch.where(torch.stack(kl) <= c.kl_max, fractions, 0.0).amax()
        changes["actor"] = state.actor + fraction * step
        clock.lap("kl_s")

        # The critic.
        target = gradest.td_lambda(steps.reward.detach(), value_next.detach(), *window.ends, gamma=c.gamma, lam=c.lam)
        fitted, critic_loss = self.fit(state, x, target, generator)
        clock.lap("critic_s")
        metrics |= {"critic_loss": critic_loss, "kl_full_step": kl[0], "step_fraction": fraction}
        return self.learned(state, window, changes | fitted, metrics, metrics["grad_norm"], target)


ALGORITHM = Trust
register_algorithm(AlgorithmEntry(name="trust", algorithm=f"{__name__}:ALGORITHM", summary=str(__doc__)))
