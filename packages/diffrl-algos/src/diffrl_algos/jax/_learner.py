"""``Learner``: everything an algorithm does except its own mathematics.

An update has two halves. ``learn`` is the algorithm: arrays in, arrays out, compiled as one function together with what
accepts or refuses its result. The host then reads all results in one transfer, and counts.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import gradest
from diffsim_core import Env, Trajectory, collect_divergences, compiling, require_memory

from .._algorithm import Metrics
from .._arrays import carried_arrays
from .._config import CriticConfig, GaussianConfig, UpdateConfig
from .._episodes import Episodes
from ._adam import Adam, Optimizer
from ._fit import fit_critic, orders
from ._native_fit import fit_natively
from ._networks import Critic, GaussianActor, gaussian_actor, value_critic
from ._normalize import RunningStats
from ._policy import GaussianPolicy, ValueFunction
from ._seeds import over_seeds
from ._state import ActorNets, Counters, State, TargetNets, Worlds
from ._window import Taps, Window, explore

ConfigT = TypeVar("ConfigT", bound=UpdateConfig)
ActorConfigT = TypeVar("ActorConfigT", bound=GaussianConfig)

_OF_TORCH = {"policy_step": "native", "policy_fit": "native", "cuda_graph": True}
"""Values of fields that ask for what only the form in torch has."""


class Learned(NamedTuple):
    """What an update computed."""

    window: Window
    """The window it learned from."""
    changes: Mapping[str, Any]
    """New values of fields of the algorithm's arrays, taken over if everything in ``finite`` is finite."""
    finite: tuple[Array, ...]
    """What the update was computed from, and its results."""
    metrics: Mapping[str, Array]
    """Scalars to report."""


@dataclass(frozen=True)
class Learner(ABC, Generic[ConfigT]):
    """An algorithm except its mathematics: subclasses give ``first`` and ``learn``, and a policy."""

    config: ConfigT
    name: ClassVar[str]
    """Name on the command line."""
    gradients: ClassVar[bool] = True
    """Whether it learns through the environment's gradients."""
    compiler_options: ClassVar[Mapping[str, Any]] = {}
    """Of XLA, for the update."""

    @abstractmethod
    def first(self, env: Env, obs: Array, key: Array) -> Any:
        """The first of the algorithm's arrays, a named tuple."""

    @abstractmethod
    def learn(self, env: Env, nets: Any, worlds: Worlds, key: Array, done: Array) -> Learned:
        """One window, and all that is learned from it; ``done`` is the share of the schedule that is behind."""

    @property
    def window(self) -> int:
        """Control steps that one backward pass goes through, at most."""
        return self.config.horizon

    @property
    def trials(self) -> int:
        """Windows that an update rolls out besides the one that it learns from."""
        return 0

    def init(self, env: Env, seed: int) -> State:
        """The state before the first update.

        Raises:
            ValueError: the algorithm cannot learn in this environment, or not with this configuration; the message
                says why.
        """
        self.check(env)
        return self.template(env, seed)

    def check(self, env: Env) -> None:
        """Raise ``ValueError`` if the algorithm cannot learn in this environment, or not with this configuration."""
        spec, title = env.spec, type(self).__name__
        for name, value in _OF_TORCH.items():
            if getattr(self.config, name, None) == value:
                raise ValueError(f"{name} is {str(value).lower()}, which {title} has in torch alone; leave {name} out")
        if self.gradients and not spec.differentiable:
            raise ValueError(
                f"environment {spec.name!r} is not differentiable, and {title} learns through its gradients; use ppo"
            )
        if spec.obs_shapes:
            arrays = ", ".join(f"{key} {list(shape)}" for key, shape in spec.obs_shapes.items())
            raise ValueError(
                f"environment {spec.name!r} observes {arrays}, and {title} in JAX has no encoder for them; use sapo in "
                "torch, or a task whose observation is one vector"
            )
        if self.gradients:
            require_memory(env, self.window)

    def template(self, env: Env, seed: int = 0) -> State:
        """A first state without the checks of training: enough to load a checkpoint into and to act with."""
        env_state, obs = env.reset(seed)
        if not isinstance(obs, jax.Array) or obs.shape != (env.num_envs, env.spec.num_obs):
            raise ValueError(
                f"environment {env.spec.name!r} gives observations of {type(obs).__name__}"
                f"{list(getattr(obs, 'shape', []))}; {type(self).__name__} needs a JAX array "
                f"[{env.num_envs}, {env.spec.num_obs}]"
            )
        networks, rng = jax.random.split(jax.random.key(seed))
        nets = jax.tree.map(
            lambda leaf: leaf.astype(obs.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
            self.first(env, obs, networks),
        )
        worlds = Worlds(env_state, obs, RunningStats.init(env.spec.num_obs), jax.random.key_data(rng))
        # All on one device from the beginning, as updates leave it; else the second update would be compiled anew.
        worlds, nets = jax.device_put((worlds, nets), obs.sharding)
        return State(env, worlds, Counters(Episodes.init(env.num_envs)), nets)

    def update(self, state: State) -> tuple[State, Metrics]:
        """One update, as the class describes it: the next state and its metrics."""
        return self.update_together([state])[0]

    def update_together(self, states: Sequence[State]) -> list[tuple[State, Metrics]]:
        """An update of each of several states at once: what ``update`` gives for each of them, up to rounding.

        Their worlds are of one kind, as those of runs that differ in nothing but their seeds.
        """
        start = time.perf_counter()
        states = [self._before(state) for state in states]
        env, kind = states[0].env, (states[0].env, len(states))
        what = f"an update of {self.name} in {env.num_envs * len(states)} worlds of {env.spec.name}"
        with gradest.allow_nan(), nullcontext() if kind in self._called else compiling(what):
            found = self._updates(states)(*map(self._arguments, states))
        self._called.add(kind)
        # Windows stay on the device: they are asked for only where a world diverged.
        windows = [seen.pop("window") for _, _, seen in found]
        seen = jax.device_get([seen for _, _, seen in found])
        learn_s = time.perf_counter() - start
        return [
            self._counted(state.replace(worlds=worlds, nets=nets), one, window, learn_s)
            for state, (worlds, nets, _), one, window in zip(states, found, seen, windows, strict=True)
        ]

    def check_together(self, states: Sequence[State]) -> None:
        """Raise ``ValueError`` if ``update_together`` cannot be for these states; the message says why."""
        env = states[0].env
        if self.gradients:
            require_memory(env, self.window, seeds=len(states))
        try:
            jax.eval_shape(self._updates(states), *map(self._arguments, states))
        except NotImplementedError as error:
            raise ValueError(
                f"environment {env.spec.name!r} cannot be computed for several seeds at once, because jax.vmap fails "
                f"({error}); train one seed at a time"
            ) from error

    def _counted(
        self, state: State, seen: Mapping[str, Any], window: Trajectory, learn_s: float
    ) -> tuple[State, Metrics]:
        """``state`` with the account of its update, and the metrics of that."""
        start = time.perf_counter()
        counters = state.counters
        reward, done, valid = (seen[name] for name in ("reward", "done", "valid"))
        diverged, accepted = int(seen["diverged"]), bool(seen["accepted"])
        counters = counters._replace(
            episodes=counters.episodes.update(reward, done, valid),
            iteration=counters.iteration + 1,
            env_steps=counters.env_steps + (1 + self.trials) * done.size,
            refused=counters.refused + (not accepted),
            diverged=counters.diverged + diverged,
        )
        return_mean, length_mean = counters.episodes.means()
        report = {
            "return_mean": return_mean,
            "length_mean": length_mean,
            "episodes": counters.episodes.finished,
            **{name: float(value) for name, value in seen["metrics"].items()},
            "refused_updates": counters.refused,
            "diverged": counters.diverged,
            **({"trials": self.trials} if self.trials else {}),
            "learn_s": learn_s,
            "account_s": time.perf_counter() - start,
            "divergences": collect_divergences(state.env, window) if diverged else [],
        }
        if bad := int(np.count_nonzero(~np.isfinite(reward))):
            report["rewards_not_finite"] = bad
        return state.replace(counters=counters), report

    def _step(self, env: Env, worlds: Worlds, nets: Any, done: Array) -> tuple[Worlds, Any, dict[str, Any]]:
        """``learn``, and what is accepted of it."""
        key, rng = jax.random.split(jax.random.wrap_key_data(worlds.rng))
        window, changes, finite, metrics = self.learn(env, nets, worlds, key, done)
        steps = window.trajectory
        good = jnp.stack([jnp.isfinite(part).all() for part in finite]).all()
        stats = worlds.stats.update(steps.obs.reshape(-1, steps.obs.shape[-1]))
        accepted = jax.tree.map(
            lambda new, old: jnp.where(good, new, old),
            (nets._replace(**changes), stats),
            (nets, worlds.stats),
        )
        nets, stats = accepted
        after = Worlds(*jax.lax.stop_gradient((window.env_state, window.obs)), stats, jax.random.key_data(rng))
        named = {**metrics, **{f"task_{name}": value.mean() for name, value in steps.metrics.items()}}
        kept = steps._replace(obs=(), action=(), final_obs=(), aux=())
        parts = {name: getattr(steps, name) for name in ("reward", "done", "valid")}
        seen = {"accepted": good, "diverged": steps.diverged.sum(), "metrics": named, "window": kept, **parts}
        return after, nets, seen

    def _updates(self, states: Sequence[State]) -> Callable[..., list[Any]]:
        """``_step`` of all these states, compiled."""
        env, count = states[0].env, len(states)
        if (env, count) not in self._compiled:
            options = dict(self.compiler_options)
            step = over_seeds(lambda *arrays: self._step(env, *arrays), count)
            self._compiled[env, count] = jax.jit(step, compiler_options=options)
        return self._compiled[env, count]

    @cached_property
    def _called(self) -> set[tuple[Env, int]]:
        """Updates that have been called, and so compiled; ``check_together`` asks for one without that."""
        return set()

    @cached_property
    def _compiled(self) -> dict[tuple[Env, int], Callable[..., Any]]:
        """Updates, by the worlds they are of and the number of seeds."""
        return {}

    def _arguments(self, state: State) -> tuple[Worlds, Any, Array]:
        """What ``_step`` takes of a state."""
        return state.worlds, state.nets, self._done(state)

    def _before(self, state: State) -> State:
        """Where an update begins; by default where the last one ended."""
        return state

    def _done(self, state: State) -> Array:
        """The share of the schedule of learning rates that is behind."""
        done, whole = self.config.schedule(state.iteration, state.env_steps)
        return jnp.asarray(min(1.0, done / whole), state.worlds.obs.dtype)

    @property
    def optimizer(self) -> Optimizer:
        """Clipping and Adam(W) with the constants of the configuration."""
        return Optimizer(self.config.betas, self.config.max_grad_norm, self.config.weight_decay)

    def lr(self, done: Array, start: float) -> Array:
        """The learning rate of an update, for one that starts at ``start``."""
        end = start if self.config.lr_schedule == "constant" else self.config.lr_end
        return start + (end - start) * done

    def to_arrays(self, state: State) -> dict[str, np.ndarray[Any, Any]]:
        """The state as named arrays, for a checkpoint; see ``State.to_arrays``."""
        return state.to_arrays()

    def from_arrays(self, state: State, arrays: Mapping[str, np.ndarray[Any, Any]]) -> State:
        """See ``State.from_arrays``."""
        return state.from_arrays(arrays)

    def carry(self, state: State, env: Env, seed: int = 0, *, going_on: bool = True) -> State:
        """What ``state`` has learned, in other worlds, where new episodes begin; see the learner of torch."""
        if env is state.env:
            return state
        fresh = self.init(env, seed)
        same = type(state.nets) is type(fresh.nets)
        counters = ("run.rng", "run.iteration", "run.env_steps", "run.refused", "run.diverged") if going_on else ()
        return fresh.from_arrays(carried_arrays(fresh.to_arrays(), state.to_arrays(), same=same, also=counters))


@dataclass(frozen=True)
class ActorLearner(Learner[ActorConfigT]):
    """A learner with a Gaussian actor."""

    def actor(self, env: Env) -> GaussianActor:
        """The actor's network."""
        return gaussian_actor(self.config, env)

    def gains(self) -> tuple[float | None, float | None]:
        """Gains of the initial weights of actor and critics; None is torch's own rule (see ``MLP.init``)."""
        return None, math.sqrt(2.0)

    def first(self, env: Env, obs: Array, key: Array) -> Any:
        actor = self.actor(env).init(key, logstd=self.config.logstd_init, gain=self.gains()[0])
        return ActorNets(actor, Adam.init(actor))

    def noise(self, env: Env, worlds: Worlds, key: Array, *before: int) -> Array:
        """Standard normal numbers ``[*before, T, N, na]`` for a window."""
        shape = (*before, self.config.horizon, env.num_envs, env.spec.num_actions)
        return jax.random.normal(key, shape, worlds.obs.dtype)

    def explore(
        self, env: Env, worlds: Worlds, flat: Array, eps: Array, taps: Taps | None = None, **options: Any
    ) -> Window:
        """A window with the actor's parameters ``flat``; see ``_window.explore``."""
        normalize = worlds.normalizer(self.config)
        options = {"taps": taps, "price": self.config.divergence_price, **options}
        return explore(self.actor(env), flat, normalize, env, worlds.env_state, worlds.obs, eps, **options)

    def descend(
        self, nets: Any, grad: Array, lost: Array, window: Window, done: Array
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """One step of the actor down a gradient: the fields that this changes, and metrics.

        ``lost [T, N]`` is the gradient of ``Taps.lost``.
        """
        lr = self.lr(done, self.config.actor_lr)
        actor, adam, norm = self.optimizer.step(nets.actor, nets.actor_adam, grad, lr)
        metrics = {
            "lost_gradients": lost.mean(),
            "grad_norm": norm,
            "std_mean": jnp.exp(window.policy.logstd).mean(),
            "actor_lr": lr,
        }
        return {"actor": actor, "actor_adam": adam}, metrics

    def policy(self, state: State, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with its observation statistics; deterministic, it is ``tanh(mu)``."""
        key = None if deterministic else jax.random.key(seed)
        return GaussianPolicy(self.actor(state.env), state.nets.actor, state.worlds.normalizer(self.config), key)


@dataclass(frozen=True)
class CriticLearner(ActorLearner[ActorConfigT]):
    """A learner with a Gaussian actor and critics that have a moving average."""

    def critic(self, env: Env) -> Critic:
        """The critics' networks."""
        return value_critic(self._critic_config, env)

    def first(self, env: Env, obs: Array, key: Array) -> Any:
        of_actor, of_critic = jax.random.split(key)
        critic = self.critic(env).init(of_critic, gain=self.gains()[1])
        actor: ActorNets = super().first(env, obs, of_actor)
        return TargetNets(*actor, critic=critic, critic_adam=Adam.init(critic), target=critic)

    def fit(
        self, env: Env, nets: Any, x: Array, y: Array, key: Array, lr: Array, *, optimizer: Optimizer | None = None
    ) -> tuple[dict[str, Any], Array]:
        """The critics fitted to targets ``y [T, N]`` at inputs ``x [T, N, ...]``: what this changes, and the loss."""
        c, x, y = self._critic_config, x.reshape(-1, x.shape[-1]), y.ravel()
        order = orders(key, c.critic_iterations, len(y), shuffle=c.critic_shuffle)
        options: dict[str, Any] = {"optimizer": optimizer or self.optimizer, "lr": lr}
        fit = fit_natively if self._fits_natively(env) else fit_critic
        fitted, adam, loss = fit(self.critic(env), nets.critic, nets.critic_adam, x, y, order, config=c, **options)
        changes: dict[str, Any] = {"critic": fitted, "critic_adam": adam}
        if hasattr(nets, "target"):
            kept: float = c.target_alpha  # pyright: ignore[reportAttributeAccessIssue]
            changes["target"] = kept * nets.target + (1.0 - kept) * fitted
        return changes, loss

    def check(self, env: Env) -> None:
        super().check(env)
        if self._critic_config.critic_fit == "native" and not self._fits_natively(env):
            raise ValueError("critic_fit is native, and the critics are on CUDA; use critic_fit=auto or torch")

    def _fits_natively(self, env: Env) -> bool:
        """Whether compiled code fits the critics; otherwise XLA does, also where the configuration says ``torch``."""
        on_cpu = not str(getattr(env, "device", "cpu")).startswith("cuda")
        return self._critic_config.critic_fit != "torch" and on_cpu

    def value(self, state: State) -> ValueFunction:
        """The critics' mean value of observations, for viewers."""
        normalize = state.worlds.normalizer(self.config)
        return ValueFunction(self.critic(state.env), state.nets.critic, normalize)

    @property
    def _critic_config(self) -> CriticConfig:
        assert isinstance(self.config, CriticConfig), "the configuration of an algorithm with critics"
        return self.config
