"""``BundledEnv``: worlds in heavy contact are forked into perturbed branches, whose averages they go on from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import EnvState, EpisodeRandom, Remade, TaskEnv, Transition, tree_map
from diffsim_core._env import Moved
from diffsim_core._random import MAX_STREAM
from diffsim_core.rigid import GroundContacts, RigidDynamics

from .._bundle import Bundle
from ._perturb import Coordinates, joint_displacements


class BundleMemory(NamedTuple):
    """What a bundled environment remembers between steps, in place of the task's memory."""

    task: Any
    """The task's."""
    branches: Any
    """State of the simulator of each branch, arrays ``[N, n, ...]``; zeros where a world has none."""
    keep: Tensor
    """``[N, n]`` bool: branches within the finite range."""
    left: Tensor
    """``[N]`` int32: control steps that the branches still take."""


class BundledEnv(Remade):
    """Worlds of a rigid-body task on torch tensors, with bundled contact gradients.

    Where the ground pushes on one link of a world with more than ``bundle.force`` weights of the robot, the world is
    forked into ``bundle.branches`` copies. Each has its own perturbation of position and velocity, drawn at the contact
    point under the greatest force, and mapped to the joints by ``joint_displacements``. All take the same actions for
    ``bundle.steps`` control steps. The world is their mean in the meantime: observations and termination are those of
    the mean state, and rewards and metrics are means. After these steps it goes on from the mean state. Because the
    mean is differentiated too, its gradient is the mean of the branches' gradients.

    Branches that leave the finite range are left out of the means; a world that has lost all of them has diverged. The
    perturbations are constants to the gradient. Their numbers follow from seed, world, episode and step, so a run that
    is resumed has the same ones.

    While no world is in heavy contact, a step is that of ``env``, to the bit. Every transition has the metric
    ``bundled``, 1 for the worlds that had branches in this step.

    Args:
        env: the worlds.
        bundle: branches and perturbations.

    Raises:
        ValueError: the task has no rigid bodies over level ground, or its arrays are not torch's.
    """

    dynamic_shapes = True
    """How much is computed in a step depends on the states, so that no graph of CUDA can be captured."""

    def __init__(self, env: TaskEnv, bundle: Bundle | None = None) -> None:
        name = getattr(getattr(env, "spec", None), "name", type(env).__name__)
        dynamics = env.task.dynamics if isinstance(env, TaskEnv) else None  # pyright: ignore[reportUnnecessaryIsInstance]
        if not isinstance(dynamics, RigidDynamics):
            raise ValueError(f"task {name!r} has no contacts to bundle: it is not of this library's rigid-body engine")
        if env.arrays != "torch":
            raise ValueError(f"bundles need torch, and task {name!r} was made for arrays={env.arrays!r}")
        try:
            self.contacts = GroundContacts(dynamics)
        except ValueError as error:
            raise ValueError(f"task {name!r} has no contacts to bundle: {error}; leave the bundle out") from None
        self.env, self.bundle = env, bundle or Bundle()
        self.spec, self.num_envs = env.spec, env.num_envs
        self.arrays, self.device, self.dtype, self.world_offset = env.arrays, env.device, env.dtype, env.world_offset
        model = dynamics.model
        weight = float(model.link_mass.sum() * np.linalg.norm(model.gravity))
        self.threshold = self.bundle.force * weight
        """Normal force on one link above which its contact is heavy [N]."""
        like = torch.zeros((), dtype=getattr(torch, env.dtype), device=env.device)
        self._coordinates = Coordinates(model, like)

    def reset(self, seed: int) -> tuple[EnvState, Any]:
        """First state and observation ``[N, no]`` of every world; equal seeds give equal bits."""
        state, obs = self.env.reset(seed)
        return state._replace(task=self.memory(state)), obs

    def heavy(self, state: EnvState) -> Any:
        """Which worlds of a plain state are in heavy contact, NumPy flags ``[N]``."""
        return self._contact(state)[0] > self.threshold

    def step(self, state: EnvState, action: Tensor) -> tuple[EnvState, Transition]:
        """One control step with ``action [N, na]`` in [-1, 1], and the reset of worlds that are done.

        Raises:
            ValueError: if the action or the state has a wrong shape, dtype or device.
        """
        memory: BundleMemory = state.task
        inner = state._replace(task=memory.task)
        force, point = self._contact(inner)
        left = memory.left.cpu().numpy()
        fresh = (left == 0) & (force > self.threshold)
        active = fresh | (left > 0)
        if not active.any():
            after, step = self.env.step(inner, action)
            after = after._replace(task=memory._replace(task=after.task))
            return after, step._replace(metrics={**step.metrics, "bundled": torch.zeros_like(step.reward)})
        if action.shape != (self.num_envs, self.spec.num_actions):
            wanted = (self.num_envs, self.spec.num_actions)
            raise ValueError(f"action has shape {tuple(action.shape)}, expected {wanted}: one row for each world")
        at, idle = (torch.from_numpy(np.flatnonzero(which)).to(self.device) for which in (active, ~active))
        branches, keep = self._forked(inner, memory, fresh, point)
        branches, keep = tree_map(lambda x: x[at], branches), keep[at]
        moved, ends, keep = self._moved(inner, action, branches, keep, at, idle)
        after, step = self.env.renew(moved)
        remembered = self.memory(after)
        left = np.where(active, np.where(fresh, self.bundle.steps, left) - 1, 0).astype(np.int32)
        if left.any():
            stay = torch.from_numpy(np.flatnonzero(left[active])).to(self.device)
            ends = tree_map(lambda none, x: none.index_copy(0, at[stay], x[stay]), remembered.branches, ends)
            remembered = remembered._replace(branches=ends, keep=remembered.keep.index_copy(0, at[stay], keep[stay]))
        ended: Any = step.terminated | step.truncated
        rest = torch.where(ended, 0, torch.from_numpy(left).to(self.device))
        bundled = torch.from_numpy(active).to(step.reward)
        after = after._replace(task=remembered._replace(left=rest))
        return after, step._replace(metrics={**step.metrics, "bundled": bundled})

    def memory(self, state: EnvState) -> BundleMemory:
        """The memory of a plain state of ``env``, which ``state._replace(task=memory(state))`` makes one of these."""
        shape = (self.num_envs, self.bundle.branches)
        branches = tree_map(lambda x: x.new_zeros((*shape, *x.shape[1:])), state.physics)
        keep = torch.zeros(shape, dtype=torch.bool, device=self.device)
        return BundleMemory(state.task, branches, keep, torch.zeros_like(state.t))

    def _contact(self, state: EnvState) -> tuple[Any, Any]:
        """The greatest force on a link of each world [N], and the point of that link under the greatest force."""
        with torch.no_grad():
            forces = self.contacts.forces(state.physics, state.constants)
        links = np.unique(self.contacts.links)
        on_links = np.stack([forces[:, self.contacts.links == link].sum(1) for link in links], axis=1)
        heaviest = links[on_links.argmax(1)]
        return on_links.max(1), np.where(self.contacts.links == heaviest[:, None], forces, -np.inf).argmax(1)

    def _forked(self, state: EnvState, memory: BundleMemory, fresh: Any, point: Any) -> tuple[Any, Tensor]:
        """Branches of all worlds, and which are kept: those of before, and new ones where they are ``fresh``."""
        if not fresh.any():
            return memory.branches, memory.keep
        b, new = self.bundle, torch.from_numpy(np.flatnonzero(fresh)).to(self.device)
        # Each step of each episode has numbers of its own.
        key = state.episode.long() * (self.spec.horizon + 1) + state.t
        key = (key % 2**31).to(torch.int32)
        random = EpisodeRandom(state.seed, key, dtype=self.dtype, device=self.device, world_offset=self.world_offset)
        noise = random.normal(MAX_STREAM - 1, (b.branches, 2, 3))[new]
        physics = tree_map(lambda x: x[new], state.physics)
        where = torch.from_numpy(point).to(self.device)[new]
        by = torch.cat([b.position * noise[:, :, 0], b.velocity * noise[:, :, 1]], dim=1)
        place, speed = joint_displacements(self.contacts, physics, where, by).chunk(2, dim=1)
        many = tree_map(lambda x: x[:, None].expand(-1, b.branches, *x.shape[1:]), physics)
        many = many._replace(q=self._coordinates.moved(many.q, place), qd=many.qd + speed)
        branches = tree_map(lambda old, x: old.index_copy(0, new, x), memory.branches, many)
        return branches, memory.keep.index_fill(0, new, True)

    def _moved(
        self, state: EnvState, action: Tensor, branches: Any, keep: Tensor, at: Tensor, idle: Tensor
    ) -> tuple[Moved, Any, Tensor]:
        """A step of the ``idle`` worlds and of the branches of those ``at``, in one call of the simulator.

        Returns the step of all worlds, the branches after it, and which of them are kept.
        """
        n, alone = self.bundle.branches, len(idle)

        def rows(x: Tensor) -> Tensor:
            return torch.cat([x[idle], x[at].repeat_interleave(n, 0)])

        batch = EnvState(
            physics=tree_map(lambda x, b: torch.cat([x[idle], b.flatten(0, 1)]), state.physics, branches),
            task=tree_map(rows, state.task),
            t=rows(state.t),
            episode=rows(state.episode),
            seed=state.seed,
            constants=tree_map(rows, state.constants),
        )
        moved = self.env.move(batch, rows(action))

        def of_branches(x: Tensor) -> Tensor:
            return x[alone:].unflatten(0, (len(at), n))

        def joined(x: Tensor, means: Tensor) -> Tensor:
            whole = x.new_zeros((self.num_envs, *x.shape[1:]))
            return whole.index_copy(0, idle, x[:alone]).index_copy(0, at, means)

        def averaged(x: Tensor) -> Tensor:
            own = of_branches(x)
            return joined(x, gradest.bundle_mean(own, keep) if x.is_floating_point() else own[:, 0])

        keep = keep & of_branches(moved.ok)
        ends = tree_map(of_branches, moved.after.physics)
        means = tree_map(lambda x: gradest.bundle_mean(x, keep), ends)
        means = means._replace(q=self._coordinates.mean(ends.q, keep))
        some = keep.any(1)
        # A world without branches stays where it was, as one that diverged does.
        means = tree_map(lambda x, old: torch.where(some[:, None], x, old[at]), means, state.physics)
        physics = tree_map(joined, moved.after.physics, means)
        task = tree_map(lambda x: joined(x, of_branches(x)[:, 0]), moved.after.task)
        after = EnvState(physics, task, state.t + 1, state.episode, state.seed, state.constants)
        whole = Moved(
            after=after,
            obs=self.env.observe(physics, task),
            reward=averaged(moved.reward),
            terminated=self.env.task.terminated(self.env.xp, physics, task),
            ok=joined(moved.ok, some),
            metrics={name: averaged(value) for name, value in moved.metrics.items()},
        )
        return whole, ends, keep
