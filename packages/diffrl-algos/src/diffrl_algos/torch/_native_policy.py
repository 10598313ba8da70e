"""A step of a Gaussian policy as one node of the graph, by compiled code: forward and back. See ``_source/policy.h``.

A policy sees a few dozen rows at a time, and torch spends most of a step on the fixed cost of its operations. A node
keeps nothing for the backward pass but the input: the network goes forward once more. A window has room to keep more.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffsim_core._shelf import Borrowed, Shelf
from diffsim_core.native import Arguments, Launch, Launcher

from .._native.layout import BLOCK, SHAPE, Layout, network_kernels
from ._dtypes import DTYPES
from ._gate import LARGEST
from ._mlp import MLP

_SHAPES = {"layers": "const int*", **dict.fromkeys(SHAPE, "int")}
_ARRANGE = {"theirs": "T*", "ours": "T*", "turned": "T*"}
_STEP = {
    **dict.fromkeys(("parameters", "turned", "range", "x", "eps", "push"), "const T*"),
    **dict.fromkeys(("mean", "logstd", "u", "action"), "T*"),
    **dict.fromkeys(("by_parameters", "by_x", "by_u", "lost", "activations"), "T*"),
    **dict.fromkeys(("rows", "actions", "spread"), "int"),
}
"""``spread``: whether ``log sigma`` is an output of the network; ``range`` has its bounds, and those of the gate;
``activations``: room for what ``policy_back`` reads of ``policy_forward``, or null."""
_ARRANGE_ARGUMENTS = Arguments("ArrangeArgs", **_SHAPES, **_ARRANGE)
_STEP_ARGUMENTS = Arguments("PolicyArgs", **_SHAPES, **_STEP, scratch="T*")
_FUNCTIONS = {
    "arrange": (_ARRANGE_ARGUMENTS, _ARRANGE),
    "arrange_back": (_ARRANGE_ARGUMENTS, _ARRANGE),
    "policy_forward": (_STEP_ARGUMENTS, _STEP),
    "policy_back": (_STEP_ARGUMENTS, _STEP),
}


class _Programs:
    """What runs, for networks of one shape."""

    def __init__(self, mlp: MLP, dtype: str) -> None:
        layout = Layout.of(mlp, dtype)
        self.shape = layout.shape
        self.shelf = Shelf(getattr(torch, dtype))
        self._layers = np.array(layout.layers, dtype=np.int32)  # whose address the programs have
        functions = {name: arguments for name, (arguments, _) in _FUNCTIONS.items()}
        launcher = Launcher(
            network_kernels("policy", "policy.h", functions, dtype),
            device="cpu",
            constants={"layers": self._layers.ctypes.data, **layout.shape},
            scratch={"scratch": lambda _: layout.scratch},
            threads=1,
        )
        self._programs = {
            name: launcher.program(Launch(name, items=lambda _: 1), given=tuple(given))
            for name, (_, given) in _FUNCTIONS.items()
        }

    def run(self, name: str, *values: Tensor | int | None) -> None:
        """Run a function with arrays, of which None is a null pointer, and numbers."""
        self._programs[name].run(1, 1, [v.data_ptr() if isinstance(v, Tensor) else v or 0 for v in values])


@functools.lru_cache(maxsize=8)
def _programs_of(mlp: MLP, dtype: str) -> _Programs:
    return _Programs(mlp, dtype)


class _Arrange(torch.autograd.Function):
    """Parameters as compiled code reads them, and transposed weights, which have no gradient of their own."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, programs: _Programs) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ours, turned = (flat.new_empty(programs.shape[name]) for name in ("size", "turned_size"))
        programs.run("arrange", flat.contiguous(), ours, turned)
        ctx.programs = programs
        ctx.mark_non_differentiable(turned)
        return ours, turned

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad = g.new_empty(ctx.programs.shape["flat_size"])
        ctx.programs.run("arrange_back", grad, g.contiguous(), None)
        return grad, None


class PolicyCode(NamedTuple):
    """A step as compiled code, and what is the same in all steps."""

    programs: _Programs
    ours: Tensor
    turned: Tensor
    range: Tensor
    actions: int
    spread: bool

    def borrow(self, steps: int, rows: int) -> Borrowed:
        """Room for the activations of so many steps, one after the other."""
        return self.programs.shelf.borrow(steps * -(-rows // BLOCK) * self.programs.shape["kept_size"])

    def outputs(self, *rows: int) -> list[Tensor]:
        """Room for ``mean``, ``logstd`` where it is an output, ``u`` and ``action``: ``[*rows, na]``."""
        return [self.ours.new_empty(*rows, self.actions) for _ in range(4 if self.spread else 3)]

    def forward(
        self,
        x: Tensor,
        eps: Tensor,
        push: Tensor | None,
        outputs: Sequence[Tensor],
        activations: Tensor | None = None,
    ) -> None:
        """Write the outputs; all arrays are contiguous.

        Args:
            x: ``[N, no]``.
            eps: ``[N, na]``.
            push: the same, or None.
            outputs: where they go.
            activations: a step's part of ``borrow``, for ``back`` to read.
        """
        mean, *logstd, u, action = outputs
        arrays = (self.ours, self.turned, self.range, x, eps, push, mean, *(logstd or [None]), u, action)
        self.programs.run("policy_forward", *arrays, *[None] * 4, activations, x.shape[0], self.actions, self.spread)

    def back(
        self,
        x: Tensor,
        eps: Tensor,
        push: Tensor | None,
        cotangents: Sequence[Tensor | None],
        activations: Tensor | None = None,
        *,
        by_parameters: Tensor | None,
        by_x: Tensor | None,
        by_u: Tensor | None,
        lost: Tensor | None,
    ) -> None:
        """Write what is asked for, from the cotangents of the outputs; those of ``eps`` and ``push`` are ``by_u``."""
        mean, *logstd, u, action = (None if g is None else g.contiguous() for g in cotangents)
        arrays = (self.ours, self.turned, self.range, x, eps, push, mean, *(logstd or [None]), u, action)
        results = (by_parameters, by_x, by_u, lost, activations)
        self.programs.run("policy_back", *arrays, *results, x.shape[0], self.actions, self.spread)


class _Step(torch.autograd.Function):
    """``(mean, [logstd,] u, action)`` of one step."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, ours: Tensor, x: Tensor, eps: Tensor, push: Tensor | None, lost: Tensor | None, policy: PolicyCode
    ) -> tuple[Tensor, ...]:
        x, eps = x.contiguous(), eps.contiguous()
        push = None if push is None else push.contiguous()
        ctx.save_for_backward(x, eps, push)
        ctx.set_materialize_grads(False)
        ctx.policy = policy
        outputs = policy.outputs(len(x))
        policy.forward(x, eps, push, outputs)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        policy, (x, eps, push) = ctx.policy, ctx.saved_tensors
        needs_parameters, needs_x, needs_eps, needs_push, needs_lost, _ = ctx.needs_input_grad
        by_parameters = torch.empty_like(policy.ours) if needs_parameters else None
        by_x = torch.empty_like(x) if needs_x else None
        by_u = torch.empty_like(eps) if needs_eps or needs_push else None
        lost = x.new_empty(len(x)) if needs_lost else None
        results: dict[str, Any] = {"by_parameters": by_parameters, "by_x": by_x, "by_u": by_u, "lost": lost}
        policy.back(x, eps, push, cotangents, **results)
        by_push = by_u.clone() if by_u is not None and needs_push else None
        return by_parameters, by_x, by_u if needs_eps else None, by_push, lost, None


class NativeSteps:
    """Steps of a policy with its parameters; differentiable once. Rows have the same bits whatever the others are.

    Args:
        mlp: the network ``x -> mean``, or ``x -> mean, log sigma``.
        flat: its parameters, float32 or float64 on a CPU.
        spread: whether ``log sigma`` is an output.
        logstd_range: bounds of ``log sigma`` in that case.
    """

    def __init__(self, mlp: MLP, flat: Tensor, *, spread: bool, logstd_range: tuple[float, float] | None) -> None:
        programs = _programs_of(mlp, DTYPES[flat.dtype])
        low, high = logstd_range or (-torch.inf, torch.inf)
        ours, turned = _Arrange.apply(flat, programs)
        bounds = torch.tensor([low, high, LARGEST], dtype=flat.dtype)
        self._inputs, self._actions = mlp.sizes[0], mlp.sizes[-1] // (2 if spread else 1)
        self.parameters = ours
        self.code = PolicyCode(programs, ours.detach(), turned, bounds, self._actions, spread)

    def __call__(
        self, x: Tensor, eps: Tensor, push: Tensor | None = None, lost: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """One step.

        Args:
            x: normalised observations ``[N, no]``.
            eps: standard normal noise ``[N, na]``; the noise itself where ``log sigma`` is not an output. Where it is,
                ``eps`` has no gradient.
            push: is added to ``u``.
            lost: zeros ``[N]`` for ``gate``.

        Returns:
            Mean, ``log sigma`` where it is an output, ``u`` and ``tanh(u)``, all ``[N, na]``.
        """
        for name, array, width in (("x", x, self._inputs), ("eps", eps, self._actions)):
            if array.dtype != self.parameters.dtype or array.shape != (len(x), width):
                expected = f"{self.parameters.dtype}{[len(x), width]}"
                raise ValueError(f"{name} is {array.dtype}{list(array.shape)}; expected {expected}")
        mean, *logstd, u, action = _Step.apply(self.parameters, x, eps, push, lost, self.code)
        return mean, logstd[0] if logstd else None, u, action


def network_outputs(mlp: MLP, flat: Tensor, x: Tensor) -> Tensor:
    """Outputs ``[N, sizes[-1]]`` of a network with its flat parameters at ``x [N, sizes[0]]``; differentiable once.

    They are the mean of a policy whose noise is zero.
    """
    mean, *_ = NativeSteps(mlp, flat, spread=False, logstd_range=None)(x, x.new_zeros(len(x), mlp.sizes[-1]))
    return mean
