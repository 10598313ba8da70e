"""``Node``: a step of an environment as one operation of PyTorch's autograd."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from diffsim_core._interop_torch import TorchBridge, once, refuse_transforms, warp_stream
from diffsim_core._protocol import EnvState, PyTree, Transition
from diffsim_core._traced._outcome import DONE, Back, Front, Kept, Outcome
from diffsim_core._traced._program import Compiled
from diffsim_core._traced._returned import Returned
from diffsim_core._tree import tree_leaves

if TYPE_CHECKING:
    from diffsim_core._env import TaskEnv


class _Given(NamedTuple):
    """The arguments of a step."""

    memory: list[torch.Tensor]
    """All leaves of the task's memory."""
    arrays: Sequence[torch.Tensor]
    """See ``Kept``."""


class Node:
    """Steps an environment with compiled functions of its task.

    Args:
        env: whose task they are.
        compiled: the functions.
    """

    def __init__(self, env: TaskEnv, compiled: Compiled) -> None:
        self.env, self.compiled = env, compiled
        self.functions = compiled.functions
        self.traced = traced = compiled.functions.traced
        self.bridge = TorchBridge(env.task.dynamics)
        self._dtype, self._device = self.bridge.dtype, self.bridge.device
        # New arrays of a kind are made faster from an old one.
        self._like = torch.empty(0, dtype=self._dtype, device=self._device)
        self.saved_size = env.task.dynamics.saved_size(env.num_envs)
        self.watched = [k for k, leaf in enumerate(traced.memory) if leaf is not None]
        self.made = [k for k, leaf in enumerate(traced.remembered) if leaf is not None]
        self._returned = Returned(env, traced, self.made)
        sizes = (len(traced.physics), len(self.watched))
        self._counts = sizes
        names, tails = self.bridge.names, self.bridge.tails
        fixed = len(tails) - self.bridge.num_constants
        self._names = ("action", *names[: sizes[0]], *names[fixed:])
        self._tails = (traced.action.shape, *tails[: sizes[0]], *tails[fixed:])
        self._reached = [leaf.name for leaf in self.functions.reached]
        self._added = {leaf.name for leaf in self.functions.added}

    def step(self, state: EnvState, action: torch.Tensor) -> tuple[EnvState, Transition] | None:
        """See ``TaskEnv.step``. None for arrays that are not as the first ones were, which that step complains of."""
        given = self._given(state, action)
        if given is None:
            return None
        call, arrays = _Call(state), given.arrays
        with warp_stream(self._device):
            if torch.is_grad_enabled() and any(array.requires_grad for array in arrays):
                outputs = iter(_Step.apply(self, call, *arrays))  # pyright: ignore[reportArgumentType]
            else:
                with torch.no_grad():
                    outputs = iter(self.forward(call, arrays, None, self.front()).outputs())
        assert call.outcome is not None, "the step was taken"
        return self._returned.all(state, call.outcome, given.memory, outputs)

    def kept_step(self, state: EnvState, action: torch.Tensor, front: Front) -> tuple[Kept, EnvState, PyTree] | None:
        """What ``pull`` needs of a step while torch records no graph, and the state and observation after it.

        None as in ``step``.
        """
        given = self._given(state, action)
        if given is None:
            return None
        call, saved = _Call(state), self.bridge.shelf.borrow(self.saved_size)
        with warp_stream(self._device):
            outcome = self.forward(call, given.arrays, saved.tensor, front)
        after = self._returned.state(state, outcome, given.memory, outcome.physics, outcome.remembered)
        obs = self._returned.observation(outcome.final_obs if outcome.obs is None else outcome.obs)
        return Kept(given.arrays, outcome, saved), after, obs

    def _given(self, state: EnvState, action: torch.Tensor) -> _Given | None:
        memory = [leaf for _, leaf in tree_leaves(state.task)]
        watched = [memory[k].contiguous() for k in self.watched] if len(memory) == len(self.traced.memory) else None
        if watched is None or not self._fits(state, action, watched):
            return None
        action = action.resolve_neg().contiguous()
        given = (action, *state.physics, *state.constants)
        refuse_transforms(self._names, given)
        self.bridge.check(given, self._tails, self._names)
        return _Given(memory, (action, *state.physics, *watched, *state.constants))

    def _fits(self, state: EnvState, action: torch.Tensor, memory: Sequence[torch.Tensor]) -> bool:
        n, leaves = self.env.num_envs, [leaf for leaf in self.traced.memory if leaf is not None]
        return (
            action.dtype is self._dtype
            and action.device == self._device
            and len(state.physics) == self._counts[0]
            and len(state.constants) == self.bridge.num_constants
            and state.physics[0].shape[0] == n
            and state.t.shape == (n,)
            and state.t.dtype is torch.int32
            and all(
                x.dtype is self._dtype and x.device == self._device and x.shape == (n, *leaf.shape) and not x.is_neg()
                for x, leaf in zip(memory, leaves, strict=True)
            )
        )

    def front(self, *steps: int) -> Front:
        """Room for ``forward`` to write to; for so many steps, if a number is given."""
        n, traced, kind = (*steps, self.env.num_envs), self.traced, {"dtype": torch.int32, "device": self._device}
        leaves = (traced.action, *self.functions.controls, *traced.moved, *traced.results)
        flags = torch.empty((*steps, 4, n[-1]), dtype=torch.bool, device=self._device)
        return [torch.empty(n, **kind), torch.empty(n, **kind), flags, *(self._empty(leaf, *steps) for leaf in leaves)]

    def forward(self, call: _Call, arrays: Sequence[torch.Tensor], saved: torch.Tensor | None, front: Front) -> Outcome:
        """Act, move, observe, pay, and begin new episodes; what comes before new episodes lies in ``front``."""
        bridge, compiled, n = self.bridge, self.compiled, self.env.num_envs
        action, physics, memory, constants = self.split(arrays)
        outcome = self.outcome(front, call.state.episode)
        clipped, control, moved, ok = outcome.action, outcome.control, outcome.moved, outcome.ok
        compiled.before.run(n, 1, _pointers(action, clipped, *(control if self.functions.controls else ())))
        bridge.dynamics.step(
            bridge.buffers(physics),
            bridge.buffers([*control, *constants]),
            bridge.buffers(moved),
            bridge.buffer(ok, "int32"),
            None if saved is None else bridge.buffer(saved, bridge.dynamics.dtype),
        )
        results = (*outcome.remembered, *outcome.final_obs, outcome.reward, *outcome.metrics)
        now, ended = call.state.t.contiguous(), ctypes.c_int(0)
        look = 0 if compiled.on_cuda else ctypes.addressof(ended)  # on CUDA the host would wait for it
        read = _pointers(*physics, clipped, *memory, *moved)
        compiled.after.run(n, 1, [*read, *_pointers(*results, ok, now, outcome.t, outcome.flags), look])
        call.outcome = outcome if look and not ended.value else self._renew(call.state, outcome)
        return call.outcome

    def outcome(self, front: Front, episode: torch.Tensor) -> Outcome:
        """A step, or a window of them, in which no episode ended."""
        t, ok, flags, clipped, *rest = front
        controls, made, seen = len(self.functions.controls), len(self.made), len(self.traced.obs)
        results = rest[controls + len(self.traced.moved) :]
        moved = rest[controls : controls + len(self.traced.moved)]
        return Outcome(
            moved=moved,
            physics=moved,
            remembered=results[:made],
            final_obs=results[made : made + seen],
            reward=results[made + seen],
            metrics=results[made + seen + 1 :],
            obs=None,
            t=t,
            flags=flags,
            ok=ok,
            action=clipped,
            control=rest[:controls] or [clipped],
            begun=None,
            episode=episode,
        )

    def _renew(self, state: EnvState, outcome: Outcome) -> Outcome:
        """New episodes for worlds that are done."""
        done = outcome.flags[DONE]
        episode = state.episode + done.to(state.episode.dtype)
        moved, seen = list(map(torch.empty_like, outcome.moved)), list(map(torch.empty_like, outcome.final_obs))
        old = [*outcome.moved, *outcome.remembered, *outcome.final_obs]
        to = [*moved, *outcome.remembered, *seen]
        start, begun = self.traced.start, None
        if start is not None:
            random = self.env._random(state.seed, episode)
            fresh = [draw.make(random) for draw in start.draws]
        else:
            physics, begun, obs = self.env._start(state.seed, episode)
            leaves = [leaf for _, leaf in tree_leaves(begun)]
            fresh = [*physics, *(leaves[k] for k in self.made), *(leaf for _, leaf in tree_leaves(obs))]
            fresh = [array.resolve_neg().contiguous() for array in fresh]
        pointers = _pointers(done, *fresh, *old, *to, outcome.t)
        self.compiled.renew.run(self.env.num_envs, 1, pointers)
        return outcome._replace(physics=moved, obs=seen, begun=begun, episode=episode)

    def back(self, arrays: Sequence[torch.Tensor], control: Sequence[torch.Tensor]) -> Back:
        """Room for ``pull`` to write to, for a step with such arguments and controls."""
        action, physics, _, constants = self.split(arrays)
        made = {leaf.name: self._empty(leaf) for leaf in self.functions.reached}
        inward = [torch.empty_like(array) for array in (*physics, *control, *constants)]
        read = self.bridge.buffers([made[leaf.name] for leaf in self.traced.moved])
        return Back(made, inward, torch.empty_like(action), (read, self.bridge.buffers(inward)))

    def pull(
        self,
        arrays: Sequence[torch.Tensor],
        outcome: Outcome,
        saved: torch.Tensor,
        cotangents: Sequence[torch.Tensor | None],
        back: Back,
    ) -> list[torch.Tensor]:
        """Cotangents of the action, the physics, the memory that has one, and the constants; all lie in ``back``."""
        bridge, traced, compiled, n = self.bridge, self.traced, self.compiled, self.env.num_envs
        action, physics, memory, constants = self.split(arrays)
        given = [None if g is None else g.resolve_neg().contiguous() for g in cotangents]
        moved, results = given[: len(physics)], given[len(physics) : len(physics) + len(traced.results)]
        following = given[len(physics) + len(traced.results) :] or [None] * len(traced.obs)
        made, inward, of_action, buffers = back
        read = _pointers(*physics, outcome.action, *memory, *outcome.moved)
        done = 0 if outcome.obs is None else outcome.flags[DONE].data_ptr()
        pointers = [*read, outcome.ok.data_ptr(), done]
        pointers += [0 if g is None else g.data_ptr() for g in (*results, *following, *moved)]
        compiled.after_vjp.run(n, 1, [*pointers, *_pointers(*made.values())])
        bridge.dynamics.vjp(
            bridge.buffers(physics),
            bridge.buffers([*outcome.control, *constants]),
            bridge.buffer(outcome.ok, "int32"),
            bridge.buffer(saved, bridge.dynamics.dtype),
            *buffers,
        )
        of_physics = inward[: len(physics)]
        of_control = inward[len(physics) : len(physics) + len(outcome.control)]
        towards = [x for x, leaf in zip(of_physics, traced.physics, strict=True) if leaf.name in self._added]
        compiled.before_vjp.run(
            n,
            1,
            _pointers(
                action,
                outcome.action,
                made[traced.action.name],
                *of_control,
                *(made[name] for name in self._reached if name in self._added),
                *towards,
                of_action,
            ),
        )
        of_memory = [made[leaf.name] for leaf in traced.memory if leaf is not None and leaf.name in made]
        return [of_action, *of_physics, *of_memory, *inward[len(physics) + len(of_control) :]]

    def split(self, arrays: Sequence[torch.Tensor | None]) -> tuple[Any, Any, Any, Any]:
        """Action, physics, memory and constants."""
        physics, memory = self._counts
        return (
            arrays[0],
            arrays[1 : 1 + physics],
            arrays[1 + physics : 1 + physics + memory],
            arrays[1 + physics + memory :],
        )

    def spread(self, pulled: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
        """What ``pull`` returns with a None for memory that no derivative reaches."""
        rest, first = iter(pulled), 1 + self._counts[0]
        leaves = [leaf for leaf in self.traced.memory if leaf is not None]
        head = [next(rest) for _ in range(first)]
        return [*head, *(next(rest) if leaf.name in self._reached else None for leaf in leaves), *rest]

    def _empty(self, leaf: Any, *steps: int) -> torch.Tensor:
        return self._like.new_empty((*steps, self.env.num_envs, *leaf.shape))


class _Call:
    """One step: its state, and what came of it."""

    __slots__ = ("outcome", "state")

    def __init__(self, state: EnvState) -> None:
        self.state = state
        self.outcome: Outcome | None = None


def _pointers(*arrays: torch.Tensor) -> list[int]:
    return [array.data_ptr() for array in arrays]


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, node: Node, call: _Call, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved = node.bridge.shelf.borrow(node.saved_size)
        outcome = node.forward(call, arrays, saved.tensor, node.front())
        # what is not an output may lie in the context; an output must not, or nothing would ever be freed
        ctx.node, ctx.saved = node, saved
        kept: dict[str, Any] = {"moved": [], "physics": [], "remembered": [], "final_obs": [], "reward": None}
        kept |= {"metrics": [], "obs": None if outcome.obs is None else [], "begun": None}
        ctx.outcome = outcome._replace(**kept)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays, *outcome.moved)
        return outcome.outputs()

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        node: Node = ctx.node
        count = len(ctx.saved_tensors) - len(node.traced.moved)
        arrays, moved = ctx.saved_tensors[:count], list(ctx.saved_tensors[count:])
        outcome = ctx.outcome._replace(moved=moved)
        back = node.back(arrays, outcome.control)
        with warp_stream(node.bridge.device):
            pulled = once(lambda: node.pull(arrays, outcome, ctx.saved.tensor, cotangents, back), arrays, cotangents)
        return (None, None, *node.spread(pulled))
