"""``Learner``: everything an algorithm does except its own mathematics.

An update has two halves. ``learn`` is the algorithm: arrays in, arrays out. ``account`` is the host's part: it reads
all results in one transfer, accepts or refuses them, and counts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from diffsim_core import Env, require_memory

from .._algorithm import Metrics, Policy
from .._config import CriticConfig, GaussianConfig, GraphConfig, PolicyFitConfig, UpdateConfig
from .._processes import size
from ._account import Clock, Learned, account, settings
from ._adam import Adam, Optimizer
from ._carry import carried
from ._choice import is_native
from ._critic import Critic, ValueFunction
from ._fit import begin_fit, fits_natively
from ._graphed import Graphed, graphed, require_cuda
from ._networks import gaussian_actor, value_critic
from ._normalize import Normalizer
from ._observations import flat, layout_of
from ._policy import GaussianActor, GaussianPolicy
from ._policy_fit import fits_policy_natively
from ._run_state import ActorState, CriticState, RunState, State
from ._schedules import learning_rate
from ._state import from_arrays, leaves, to_arrays
from ._window import Window, explore, gradients, normal

ConfigT = TypeVar("ConfigT", bound=UpdateConfig)
StateT = TypeVar("StateT", bound=State)
ActorConfigT = TypeVar("ActorConfigT", bound=GaussianConfig)
ActorStateT = TypeVar("ActorStateT", bound=ActorState)
CriticStateT = TypeVar("CriticStateT", bound=CriticState)


@dataclass(frozen=True)
class Learner(ABC, Generic[ConfigT, StateT]):
    """An algorithm except its mathematics: subclasses give ``first`` and ``learn``, and a policy."""

    config: ConfigT
    name: ClassVar[str]
    """Name on the command line."""
    state_type: ClassVar[type[State]]
    """Class of the state; ``first`` gives its fields."""
    gradients: ClassVar[bool] = True
    """Whether it learns through the environment's gradients."""
    processes: ClassVar[bool] = False
    """Whether several processes can share the worlds of one run."""
    flattens: ClassVar[bool] = False
    """Whether it takes observations that are a mapping of arrays."""

    @abstractmethod
    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        """The fields of the first state other than ``run``; networks are drawn from ``generator``, on the CPU."""

    @abstractmethod
    def learn(self, state: StateT, generator: torch.Generator, clock: Clock) -> Learned:
        """One window, and all that is learned from it. It changes nothing that it is given but the two helpers."""

    @abstractmethod
    def policy(self, state: StateT, *, deterministic: bool = True, seed: int = 0) -> Policy:
        """The policy of ``state``, with its observation statistics; ``seed`` names the random numbers if it has any."""

    @property
    def window(self) -> int:
        """Control steps that one backward pass goes through, at most."""
        return self.config.horizon

    def init(self, env: Env, seed: int) -> StateT:
        """The state before the first update.

        Raises:
            ValueError: the algorithm cannot learn in this environment, or not with this configuration; the message
                says why.
        """
        self.check(env)
        state = self.template(env, seed)
        if self._captures:
            require_cuda(state.run.obs.device)
        return state

    def check(self, env: Env) -> None:
        """Raise ``ValueError`` if the algorithm cannot learn in this environment, or not with this configuration."""
        spec, title = env.spec, type(self).__name__
        if size() > 1 and not self.processes:
            raise ValueError(f"{title} learns in one process; start it without torchrun (this run has {size()})")
        if self.gradients and not spec.differentiable:
            raise ValueError(
                f"environment {spec.name!r} is not differentiable, and {title} learns through its gradients; "
                "use ppo, sac or td3"
            )
        if self._captures and getattr(env, "dynamic_shapes", False):
            raise ValueError(
                "cuda_graph is true, but a bundle forks a number of worlds that changes; use cuda_graph=false"
            )
        if self._captures and size() > 1:
            raise ValueError(f"cuda_graph is true, but this run has {size()} processes; use cuda_graph=false")
        if self.gradients:
            require_memory(env, self.window)

    def template(self, env: Env, seed: int = 0) -> StateT:
        """A first state without the checks of training: enough to load a checkpoint into and to act with."""
        env = flat(env) if self.flattens else env
        env_state, obs = env.reset(seed)
        self._check_obs(env, obs)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        with settings(self.config):
            fields = self.first(env, obs, generator)
        return self.state_type(run=RunState.first(env, env_state, obs, generator), **fields)  # pyright: ignore[reportReturnType]

    def carry(self, state: State, env: Env, seed: int = 0, *, going_on: bool = True) -> StateT:
        """What ``state`` has learned, in other worlds, where new episodes begin.

        Networks, their optimisers and the statistics of observations are carried, of the state of another algorithm the
        actor and the statistics. A replay buffer begins empty: its rows are of the old worlds.

        Args:
            state: a state of this algorithm; or of another one, with ``going_on=False``.
            env: the new worlds, with the same observations and actions. Their number, the task's options and even the
                task may be others.
            seed: names the random numbers of the new worlds.
            going_on: carry the counters too, and with them the schedules, as the same run in other worlds. Otherwise a
                new run begins.

        Raises:
            ValueError: ``init`` refuses the worlds, or an array does not fit; the message names it.
        """
        if env is state.env or env is getattr(state.env, "worlds", None):
            return state  # pyright: ignore[reportReturnType]
        return carried(self.init(env, seed), state, going_on=going_on)

    def update(self, state: StateT) -> tuple[StateT, Metrics]:
        """One update, as the class describes it: the next state and its metrics."""
        with settings(self.config):
            clock, generator = Clock(), state.run.generator()
            if self._captures:
                learned, generator = graphed(self, state)(state, clock)
            else:
                learned = self.learn(state, generator, clock)
            if not isinstance(learned, Learned):
                raise TypeError(f"{type(self).__name__}.learn returned {type(learned).__name__}, not Learned")
            return account(state, learned, generator, clock)

    @property
    def _captures(self) -> bool:
        return isinstance(self.config, GraphConfig) and self.config.cuda_graph

    @cached_property
    def graphs(self) -> WeakKeyDictionary[Env, Graphed]:
        """Updates captured as graphs, by the worlds they are of."""
        return WeakKeyDictionary()

    def to_arrays(self, state: StateT) -> dict[str, np.ndarray]:
        """The state as named arrays, for a checkpoint."""
        return to_arrays(state)

    def from_arrays(self, state: StateT, arrays: Mapping[str, np.ndarray]) -> StateT:
        """The state that ``arrays`` hold, with the environment and the structure of ``state``.

        Raises:
            ValueError: a name, shape or dtype is not that of ``state``; the message names it.
        """
        return from_arrays(state, migrated(arrays, {name for name, _ in leaves(state)}))

    @property
    def optimizer(self) -> Optimizer:
        """Clipping and Adam(W) with the constants of the configuration."""
        return Optimizer(self.config.betas, self.config.max_grad_norm, self.config.weight_decay)

    def lr(self, state: StateT, start: float) -> float:
        """The learning rate of this update, for one that starts at ``start``."""
        return learning_rate(self.config, start, state)

    def _check_obs(self, env: Env, obs: Any) -> None:
        spec, title = env.spec, type(self).__name__
        if spec.obs_shapes:
            arrays = ", ".join(f"{key} {list(shape)}" for key, shape in spec.obs_shapes.items())
            raise ValueError(
                f"environment {spec.name!r} observes {arrays}, and {title} has no encoder for them; use sapo, or a "
                "task whose observation is one vector"
            )
        if not isinstance(obs, Tensor) or obs.shape != (env.num_envs, spec.num_obs):
            raise ValueError(
                f"environment {spec.name!r} gives observations of {type(obs).__name__}"
                f"{list(getattr(obs, 'shape', []))}; {title} needs a torch tensor [{env.num_envs}, {spec.num_obs}]"
            )


@dataclass(frozen=True)
class ActorLearner(Learner[ActorConfigT, ActorStateT]):
    """A learner with a Gaussian actor."""

    state_type: ClassVar[type[State]] = ActorState

    def actor(self, env: Env) -> GaussianActor:
        """The actor's network."""
        return gaussian_actor(self.config, env)

    def gains(self) -> tuple[float | None, float | None]:
        """Gains of the initial weights of actor and critics; None is torch's own rule (see ``MLP.init``)."""
        return None, math.sqrt(2.0)

    def init(self, env: Env, seed: int) -> ActorStateT:
        state = super().init(env, seed)
        actor, device = self.actor(state.env), state.run.obs.device
        is_native("policy_step", self.config.policy_step, actor.mlp, device)
        if isinstance(self.config, PolicyFitConfig):
            fits_policy_natively(self.config, actor, device)
        return state

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        network = self.actor(env).init(generator, logstd=self.config.logstd_init, gain=self.gains()[0])
        actor = network.to(obs)
        return {"actor": actor, "actor_adam": Adam.init(actor)}

    def explore(
        self,
        state: ActorStateT,
        generator: torch.Generator,
        *,
        run: RunState | None = None,
        leaf: bool = True,
        **options: Any,
    ) -> tuple[Tensor, Normalizer, Window]:
        """A window from ``run`` (by default where the state is): the actor's parameters, the normalisation, the window.

        The parameters are a ``leaf`` that requires a gradient; without one, the way back is shorter. ``options`` are
        ``horizon``, ``eps`` and those of ``_window.explore``.
        """
        run, env = run or state.run, state.env
        normalize = run.normalizer(self.config)
        horizon, eps = options.pop("horizon", self.config.horizon), options.pop("eps", None)
        if eps is None:
            eps = normal(generator, run.obs, horizon, env.num_envs, env.spec.num_actions)
        flat, c = state.actor.detach().requires_grad_(leaf), self.config
        options = {"price": c.divergence_price, "policy_step": c.policy_step, **options}
        return flat, normalize, explore(self.actor(env), flat, normalize, run, eps, **options)

    def step(self, state: ActorStateT, grad: Tensor, window: Window) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """One step of the actor down a gradient: the fields that this changes, and metrics."""
        lr = self.lr(state, self.config.actor_lr)
        actor, adam, grad_norm = self.optimizer.step(state.actor, state.actor_adam, grad, lr)
        metrics = {"grad_norm": grad_norm, "std_mean": window.policy.logstd.exp().mean()}
        return {"actor": actor, "actor_adam": adam}, metrics

    def descend(
        self, state: ActorStateT, loss: Tensor, flat: Tensor, window: Window
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """One step of the actor down the gradient of ``loss``: the fields that this changes, and metrics."""
        grad, lost = gradients(loss, flat, window)
        changes, metrics = self.step(state, grad, window)
        return changes, {"actor_loss": loss, "lost_gradients": lost, **metrics}

    def learned(
        self,
        state: ActorStateT,
        window: Window,
        changes: dict[str, Any],
        metrics: dict[str, Tensor],
        *finite: Tensor,
        host: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Learned:
        """What was learned from a window; actor and critics must be ``finite`` too."""
        must = [changes[name] for name in ("actor", "critic") if name in changes]
        host = {"actor_lr": self.lr(state, self.config.actor_lr), **(host or {})}
        steps = (window.trajectory, window.env_state, window.obs)
        return Learned(*steps, changes, (*must, *finite), metrics, host, **fields)

    def policy(self, state: ActorStateT, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with its observation statistics; deterministic, it is ``tanh(mu)``."""
        normalize = state.run.normalizer(self.config)
        generator = None if deterministic else torch.Generator(state.run.obs.device).manual_seed(seed)
        return GaussianPolicy(self.actor(state.env), state.actor, normalize, generator, layout_of(state.env))


@dataclass(frozen=True)
class CriticLearner(ActorLearner[ActorConfigT, CriticStateT]):
    """A learner with a Gaussian actor and critics."""

    state_type: ClassVar[type[State]] = CriticState

    def critic(self, env: Env) -> Critic:
        """The critics' networks."""
        return value_critic(self.config, env)  # pyright: ignore[reportArgumentType]

    def first(self, env: Env, obs: Tensor, generator: torch.Generator) -> dict[str, Any]:
        fields = super().first(env, obs, generator)
        critic = self.critic(env).init(generator, gain=self.gains()[1]).to(obs)
        fields |= {"critic": critic, "critic_adam": Adam.init(critic)}
        # The target critics begin as the critics.
        return fields | ({"target": critic.clone()} if "target" in self.state_type.__dataclass_fields__ else {})

    def init(self, env: Env, seed: int) -> CriticStateT:
        state = super().init(env, seed)
        fits_natively(self.config, self.critic(state.env), state.run.obs.device)  # pyright: ignore[reportArgumentType]
        return state

    def begin_fit(
        self, state: CriticStateT, x: Tensor, y: Tensor, generator: torch.Generator, **options: Any
    ) -> Callable[[], tuple[dict[str, Any], Tensor]]:
        """Begin to fit the critics to targets ``y`` at inputs ``x``; compiled code does it on another core meanwhile.

        Nobody may change the arrays before the result is there.

        Args:
            state: whose critics they are.
            x: inputs ``[T, N, ...]``, or rows.
            y: targets ``[T, N]``, or of the rows.
            generator: draws the minibatches.
            options: ``config``, ``optimizer`` and ``lr`` of ``fit_critic``, by default the algorithm's, and
                ``elsewhere`` of ``begin_fit``.

        Returns:
            A function that gives the fields that this changes, and the loss.
        """
        config: CriticConfig = options.pop("config", self.config)
        lr = options.pop("lr", self.lr(state, config.critic_lr))
        fit = begin_fit(
            self.critic(state.env),
            state.critic,
            state.critic_adam,
            x.flatten(0, -2),
            y.flatten(),
            config=config,
            optimizer=options.pop("optimizer", self.optimizer),
            lr=lr,
            generator=generator,
            **options,
        )

        def finish() -> tuple[dict[str, Any], Tensor]:
            fitted, adam, loss = fit()
            changes: dict[str, Any] = {"critic": fitted, "critic_adam": adam}
            if "target" in self.state_type.__dataclass_fields__:
                changes["target"] = torch.lerp(fitted, state.target, config.target_alpha)  # pyright: ignore[reportAttributeAccessIssue]
            return changes, loss

        return finish

    def fit(
        self, state: CriticStateT, x: Tensor, y: Tensor, generator: torch.Generator, **options: Any
    ) -> tuple[dict[str, Any], Tensor]:
        """What ``begin_fit`` gives in the end, here and now."""
        return self.begin_fit(state, x, y, generator, elsewhere=False, **options)()


@dataclass(frozen=True)
class ValueLearner(CriticLearner[ActorConfigT, CriticStateT]):
    """A learner with a Gaussian actor, whose critics are value functions."""

    def value(self, state: CriticStateT) -> ValueFunction:
        """The critics' mean value of observations, for viewers."""
        normalize = state.run.normalizer(self.config)
        return ValueFunction(self.critic(state.env), state.critic, normalize, layout=layout_of(state.env))


def migrated(arrays: Mapping[str, np.ndarray], names: Collection[str]) -> Mapping[str, np.ndarray]:
    """Arrays under the ``names`` of the present state.

    Version 0.1 kept the fields of ``run`` next to the networks, and a simulator's constants in its state.
    """
    if any(name.startswith("run.") for name in arrays):
        return arrays
    renamed = {f"run.{n}" if n.partition(".")[0] in RunState._fields else n: array for n, array in arrays.items()}
    for name in names:
        before, constants, field = name.partition(".constants.")
        if constants and name not in renamed and f"{before}.physics.{field}" in renamed:
            renamed[name] = renamed.pop(f"{before}.physics.{field}")
    return renamed
