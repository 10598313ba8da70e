"""``Worlds`` on torch tensors: one ``autograd.Function`` around JAX's compiled step and its pull-back.

JAX's arrays may not change, torch's may. So nothing that JAX still holds is ever a tensor, and nothing that torch can
write is read after a call returns:

- What goes in is borrowed: the call waits for its results, and keeps no input. Inputs of the backward pass are kept by
  torch, which raises if they were changed in between.
- What comes out has memory of its own, which JAX lets go of at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import torch

from diffsim_core._interop_jax import jax_device
from diffsim_core._interop_torch import once, refuse_transforms, torch_device
from diffsim_core._protocol import EnvState, PyTree
from diffsim_core.adapters._jax_worlds import Names, Outcome, Packed, Worlds, precision


class TorchWorlds:
    """``start`` and ``step`` of ``worlds`` for torch tensors on one device.

    Raises:
        ValueError: if torch or JAX has no such device.
    """

    def __init__(self, worlds: Worlds, num_envs: int, num_actions: int, device: str) -> None:
        self.worlds = worlds
        self.device = torch_device(device)
        self._jax_device = jax_device(device)
        self._dtype = getattr(torch, str(worlds.dtype))
        with self._context():
            row = jax.eval_shape(worlds.packing.pack, worlds.example)
        whole = getattr(torch, str(row[1].dtype))
        n = num_envs
        self._expected = {
            "state.physics.numbers": ((n, *row[0].shape), self._dtype),
            "action": ((n, num_actions), self._dtype),
            "state.task.integers": ((n, *row[1].shape), whole),
            "state.t": ((n,), torch.int32),
            "state.episode": ((n,), torch.int32),
        }
        self._layout: Any = None
        """Of an ``Outcome``, once there was one."""

    def start(self, names: Names, episode: torch.Tensor) -> tuple[Packed, PyTree]:
        """See ``Worlds.start``."""
        with self._context():
            out = self.worlds.compiled("start", names, self._to_jax(episode))
        return jax.tree.map(_to_torch, jax.block_until_ready(out))

    def step(self, state: EnvState, names: Names, action: torch.Tensor) -> Outcome:
        """See ``Worlds.step``.

        Raises:
            ValueError: if an array has a wrong shape, dtype or device.
        """
        arrays = (state.physics.numbers, action, state.task.integers, state.t, state.episode)
        refuse_transforms(tuple(self._expected), arrays)
        for (name, (shape, dtype)), array in zip(self._expected.items(), arrays, strict=True):
            self._check(name, array, shape, dtype)
        if torch.is_grad_enabled() and (arrays[0].requires_grad or action.requires_grad):
            leaves = _Step.apply(self, names, *arrays)
        else:
            leaves = self.forward(names, arrays)
        return self.of(leaves)

    def forward(self, names: Names, arrays: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Every array of an ``Outcome``, in memory of its own."""
        numbers, action, integers, t, episode = map(self._to_jax, arrays)
        with self._context():
            out = self.worlds.compiled("step", Packed(numbers, integers), t, episode, names, action)
        leaves, self._layout = jax.tree.flatten(jax.block_until_ready(out))
        del out
        return [_to_torch(leaf) for leaf in leaves]

    def pull(self, arrays: Sequence[torch.Tensor], cotangents: tuple[Any, ...]) -> list[torch.Tensor]:
        """See ``Worlds.pull``; ``arrays`` are numbers, action, integers, ``ok`` and ``done``."""
        numbers, action, integers, ok, done = map(self._to_jax, arrays)
        given = jax.tree.map(self._to_jax, cotangents)
        with self._context():
            out = self.worlds.compiled("pull", Packed(numbers, integers), action, ok, done, given)
        return [_to_torch(leaf) for leaf in jax.block_until_ready(out)]

    def of(self, leaves: Sequence[Any]) -> Outcome:
        """An ``Outcome`` of its arrays."""
        return jax.tree.unflatten(self._layout, leaves)

    @contextmanager
    def _context(self) -> Iterator[None]:
        with precision(str(self.worlds.dtype)), jax.default_device(self._jax_device):
            yield

    def _to_jax(self, tensor: torch.Tensor) -> Any:
        tensor = tensor.detach().resolve_neg().contiguous()
        if tensor.device.type == "cpu":
            return tensor.numpy()  # JAX takes it as an argument, in a tenth of the time of an array made by DLPack
        return jax.dlpack.from_dlpack(tensor)

    def _check(self, name: str, array: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        if not isinstance(array, torch.Tensor):
            kind = type(array)
            raise TypeError(f"{name} is a {kind.__module__}.{kind.__qualname__}; these worlds take torch tensors")
        if tuple(array.shape) != shape or array.dtype is not dtype or array.device != self.device:
            raise ValueError(
                f"{name} has shape {tuple(array.shape)}, dtype {array.dtype}, device {array.device}; "
                f"expected shape {shape}, dtype {dtype}, device {self.device}"
            )


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bridge: TorchWorlds, names: Names, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        leaves = bridge.forward(names, arrays)
        out = bridge.of(leaves)
        differentiable = {
            id(leaf) for leaf in jax.tree.leaves((out.packed.numbers, out.reward, out.final_obs, out.obs))
        }
        ctx.mark_non_differentiable(*(leaf for leaf in leaves if id(leaf) not in differentiable))
        ctx.bridge = bridge
        # New tensors, as those that are returned may be written to.
        ctx.save_for_backward(*arrays[:3], ~out.diverged, out.terminated | out.truncated)
        return tuple(leaves)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        bridge: TorchWorlds = ctx.bridge
        arrays = ctx.saved_tensors
        of = bridge.of(cotangents)
        given = (of.packed.numbers, of.reward, of.final_obs, of.obs)
        of_numbers, of_action = once(lambda: bridge.pull(arrays, given), arrays, cotangents)
        return None, None, of_numbers, of_action, None, None, None


def _to_torch(array: jax.Array) -> torch.Tensor:
    return torch.from_dlpack(array)
