"""torch: the bridge, one ``autograd.Function`` around a simulator's ``step`` and ``vjp``, and the ``Backend``.

A control step of 64 worlds takes a few hundred microseconds, so the bridge passes bare pointers,
makes no Warp arrays and copies nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch
from torch.autograd import forward_ad

from diffsim_core._backend import Backend, Fill
from diffsim_core._buffer import Buffer
from diffsim_core._protocol import (
    Between,
    Dynamics,
    Env,
    EnvState,
    Policy,
    PyTree,
    Trajectory,
    check_count,
    constant_spec,
    out_spec,
)
from diffsim_core._rollout_loop import loop_rollout
from diffsim_core._shelf import Shelf
from diffsim_core._torch_origin import torch_origin
from diffsim_core._tree import tree_leaves, tree_map
from diffsim_core._uploads import uploaded


class TorchBridge:
    """``(state, control, constants) -> (next_state, ok)`` on torch tensors; see ``differentiable``."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        constants = constant_spec(dynamics)
        self.num_state, self.num_constants = len(dynamics.state_spec), len(constants)
        self.out_tails = tuple(spec.shape for spec in out_spec(dynamics))
        self.dtype: torch.dtype = getattr(torch, dynamics.dtype)
        self.device = torch_device(dynamics.device)
        self.shelf = Shelf(self.dtype, self.device)
        self.tails = tuple(spec.shape for spec in (*dynamics.state_spec, *dynamics.control_spec, *constants))
        self.names = (
            *(f"state.{spec.name}" for spec in dynamics.state_spec),
            *(f"control.{spec.name}" for spec in dynamics.control_spec),
            *(f"constants.{spec.name}" for spec in constants),
        )

    def __call__(
        self, state: PyTree, control: Sequence[torch.Tensor], constants: Sequence[torch.Tensor]
    ) -> tuple[PyTree, torch.Tensor]:
        arrays = (*state, *control, *constants)
        counts_fit = len(state) == self.num_state and len(constants) == self.num_constants
        if not counts_fit or len(arrays) != len(self.names):
            check_count(self.dynamics, state, control, constants)
        refuse_transforms(self.names, arrays)
        self.check(arrays, self.tails, self.names)
        if torch.is_grad_enabled() and any(array.requires_grad for array in arrays):
            *out, ok = _Step.apply(self, *arrays)  # pyright: ignore[reportGeneralTypeIssues]
        else:
            out, ok = self.forward(arrays, None)
        return self.dynamics.state_type(*out), ok.bool()

    def check(self, arrays: Sequence[torch.Tensor], tails: Sequence[tuple[int, ...]], names: Sequence[str]) -> None:
        """Raise ``ValueError`` unless arrays have these shapes for each world, and are as kernels read them."""
        num_worlds = len(arrays[0])
        for array, tail, name in zip(arrays, tails, names, strict=True):
            if (
                array.shape != (num_worlds, *tail)
                or array.dtype is not self.dtype
                or array.device != self.device
                or not array.is_contiguous()
                or array.is_neg()
            ):
                raise ValueError(self._complaint(array, tail, name, num_worlds))

    def _complaint(self, array: torch.Tensor, tail: tuple[int, ...], name: str, num_worlds: int) -> str:
        found = f"{name} has shape {tuple(array.shape)}, dtype {array.dtype}, device {array.device}"
        wanted = f"expected shape {(num_worlds, *tail)}, dtype {self.dtype}, device {self.device}"
        if not array.is_contiguous():
            return f"{found} and is not contiguous; {wanted} and contiguous: pass {name}.contiguous()"
        if array.is_neg():
            return f"{found} and is a view whose sign is still to be changed; {wanted}: pass {name}.resolve_neg()"
        return f"{found}; {wanted}"

    def forward(
        self, arrays: Sequence[torch.Tensor], saved: torch.Tensor | None
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Allocate the outputs and run the simulator's step."""
        given = self.buffers(arrays)
        num_worlds = len(arrays[0])
        out = [torch.empty((num_worlds, *tail), dtype=self.dtype, device=self.device) for tail in self.out_tails]
        ok = torch.empty(num_worlds, dtype=torch.int32, device=self.device)
        with warp_stream(self.device):
            self.dynamics.step(
                given[: self.num_state],
                given[self.num_state :],
                self.buffers(out),
                self.buffer(ok, "int32"),
                None if saved is None else self.buffer(saved, self.dynamics.dtype),
            )
        return out, ok

    def buffers(self, arrays: Sequence[torch.Tensor]) -> list[Buffer]:
        return [self.buffer(array, self.dynamics.dtype) for array in arrays]

    def buffer(self, array: torch.Tensor, dtype: str) -> Buffer:
        return Buffer(array.data_ptr(), array.shape, dtype, self.dynamics.device)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bridge: TorchBridge, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved = bridge.shelf.borrow(bridge.dynamics.saved_size(len(arrays[0])))
        out, ok = bridge.forward(arrays, saved.tensor)
        ctx.bridge = bridge
        ctx.saved = saved
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(ok)
        ctx.save_for_backward(*arrays, ok)
        return (*out, ok)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        *arrays, ok = ctx.saved_tensors
        return (None, *once(lambda: _Step._pull(ctx, arrays, ok, cotangents), arrays, cotangents))

    @staticmethod
    def _pull(
        ctx: Any, arrays: list[torch.Tensor], ok: torch.Tensor, cotangents: Sequence[torch.Tensor | None]
    ) -> list[torch.Tensor]:
        bridge: TorchBridge = ctx.bridge
        given = bridge.buffers(arrays)
        out_cotangent = [
            arrays[0].new_zeros((len(arrays[0]), *tail)) if cotangent is None else cotangent.resolve_neg().contiguous()
            for tail, cotangent in zip(bridge.out_tails, cotangents[:-1], strict=True)
        ]
        in_cotangent = [torch.empty_like(array) for array in arrays]
        with warp_stream(bridge.device):
            bridge.dynamics.vjp(
                given[: bridge.num_state],
                given[bridge.num_state :],
                bridge.buffer(ok, "int32"),
                bridge.buffer(ctx.saved.tensor, bridge.dynamics.dtype),
                bridge.buffers(out_cotangent),
                bridge.buffers(in_cotangent),
            )
        return in_cotangent


class _Once(torch.autograd.Function):
    """The first ``count`` tensors, as they are. A derivative of them raises, wherever it comes from.

    torch's own ``once_differentiable`` raises for a derivative with respect to cotangents alone. With respect to states
    and controls it leaves a zero, which ``hessian``, ``hvp`` and ``jvp`` of ``torch.autograd.functional`` hand on.
    """

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return tuple(tensor.view_as(tensor) for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise NotImplementedError(_NO_SECOND)


def once(
    pull: Callable[[], list[torch.Tensor]], arrays: Sequence[torch.Tensor], cotangents: Sequence[torch.Tensor | None]
) -> Sequence[torch.Tensor]:
    """What ``pull`` makes of ``arrays`` and ``cotangents``; it cannot be differentiated again, and says so."""
    if not torch.is_grad_enabled():
        return pull()
    # A graph of this pass is asked for, to be differentiated again.
    with torch.no_grad():
        in_cotangent = pull()
    given = [cotangent for cotangent in cotangents if cotangent is not None]
    return _Once.apply(len(in_cotangent), *in_cotangent, *arrays, *given)  # pyright: ignore[reportReturnType]


_NO_SECOND = (
    "a second derivative through a simulator's step is not implemented, nor is torch.autograd.functional.jvp, which "
    "takes one; use first derivatives, and central differences of them for a Hessian-vector product"
)
_NO_TANGENT = (
    "{name} has a forward-mode tangent; derivatives in forward mode through a simulator's step are not implemented: "
    "use torch.autograd.grad, or central differences"
)
_NO_TRANSFORM = (
    "{name} is inside a transform of torch.func (grad, vjp, jvp, vmap, ...), which a simulator's step does not "
    "support; use torch.autograd.grad, or worlds as the batch; with arrays='jax' there is jax.grad"
)


def refuse_transforms(names: Sequence[str], arrays: Sequence[torch.Tensor]) -> None:
    """Raise ``NotImplementedError`` for arrays in forward mode or inside a transform of ``torch.func``."""
    if forward_ad._current_level < 0 and _transforms() is None:
        return
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    for name, array in zip(names, arrays, strict=True):
        if functorch.is_functorch_wrapped_tensor(array):
            raise NotImplementedError(_NO_TRANSFORM.format(name=name))
        if forward_ad._current_level >= 0 and forward_ad.unpack_dual(array).tangent is not None:
            raise NotImplementedError(_NO_TANGENT.format(name=name))


def _transforms() -> Any:
    """The innermost transform of ``torch.func`` that runs now; None outside of all."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    return functorch.peek_interpreter_stack()


def torch_device(name: str) -> torch.device:
    """The device of that name, with its index where it has one, so that it compares equal to a tensor's."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device={name!r} is not a device of torch; use 'cpu', 'cuda' or 'cuda:i'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r}, but torch sees no CUDA device here; use 'cpu'")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def warp_stream(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Warp launches on torch's current stream of a CUDA device while the context is open; a CPU has none.

    Warp lets that stream wait for its own one before. In a capture, such a wait for work outside would end it.
    """
    if device.type != "cuda":
        return contextlib.nullcontext()
    import warp as wp

    waits = not torch.cuda.is_current_stream_capturing()
    return wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)), sync_enter=waits)


class TorchBackend:
    """See ``Backend``."""

    name = "torch"
    xp: Any = xp
    device = staticmethod(torch_device)

    def has_int64(self) -> bool:
        return True

    def can_read(self, device: str) -> bool:
        return device == "cpu"

    def is_traced(self, x: Any) -> bool:
        return False

    def from_numpy(self, values: np.ndarray[Any, Any], like: torch.Tensor) -> torch.Tensor:
        if self.can_read(like.device.type):
            return torch.from_numpy(np.array(values, order="C")).to(like.device)
        return uploaded(values, like.device)

    def to_numpy(self, array: torch.Tensor) -> np.ndarray[Any, Any]:
        return array.detach().resolve_neg().cpu().numpy().copy()

    def contiguous(self, array: torch.Tensor) -> torch.Tensor:
        return array.resolve_neg().contiguous()

    def apart(self, tree: PyTree, others: PyTree) -> PyTree:
        held = {_memory(leaf) for _, leaf in tree_leaves(others)} - {None}
        return tree_map(lambda leaf: leaf.clone() if _memory(leaf) in held else leaf, tree)

    def clip_unit(self, array: torch.Tensor) -> torch.Tensor:
        return array.clamp(-1.0, 1.0)

    def stop_gradient(self, array: torch.Tensor) -> torch.Tensor:
        return array.detach()

    def no_grad(self, function: Callable[[], Any]) -> Any:
        with torch.no_grad():
            return function()

    def value_and_grad(self, function: Callable[[PyTree], torch.Tensor], tree: PyTree) -> tuple[torch.Tensor, PyTree]:
        tree = tree_map(lambda leaf: leaf.detach().clone().requires_grad_(), tree)
        value = function(tree)
        leaves = [leaf for _, leaf in tree_leaves(tree)]
        if value.requires_grad:
            grads = iter(torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True))
        else:
            grads = iter([torch.zeros_like(leaf) for leaf in leaves])
        return value.detach(), tree_map(lambda _: next(grads), tree)

    def origin(self, function: Callable[[PyTree], torch.Tensor], tree: PyTree) -> str:
        return torch_origin(function, tree_map(lambda leaf: leaf.detach().clone().requires_grad_(), tree))

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def bridge(self, dynamics: Dynamics) -> TorchBridge:
        return TorchBridge(dynamics)

    def draw(self, fill: Fill, seed: torch.Tensor, episode: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        episode = episode.contiguous()
        worlds = len(episode)
        out = torch.empty((worlds, *shape), dtype=getattr(torch, fill.dtype), device=episode.device)
        with warp_stream(episode.device):
            fill(worlds, math.prod(shape), seed.data_ptr(), episode.data_ptr(), out.data_ptr())
        return out

    def rollout(
        self,
        env: Env,
        policy: Policy,
        state: EnvState,
        obs: PyTree,
        num_steps: int,
        key: Any,
        between: Between | None,
        inputs: PyTree,
    ) -> tuple[Trajectory, EnvState, PyTree]:
        if key is not None:
            raise ValueError("key is for JAX; a torch policy draws from its own generator")
        return loop_rollout(self, env, policy, state, obs, num_steps, between, inputs)


def _memory(array: Any) -> int | None:
    """Address of the memory that a tensor lies in; None for what has none, such as a tensor in a transform."""
    try:
        return array.untyped_storage().data_ptr() or None
    except (AttributeError, RuntimeError):
        return None


TORCH: Backend = TorchBackend()
