"""Policies as files that need none of these packages: ONNX, and programs of ``torch.export``."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._algorithm import Policy


def export_policy(
    policy: Policy,
    num_obs: int,
    dtype: torch.dtype = torch.float32,
    control_range: Sequence[tuple[float, float]] | None = None,
) -> torch.export.ExportedProgram:
    """``policy`` as a program from observations ``obs [N, num_obs]``, N free, to actions ``[N, na]`` in [-1, 1].

    What the policy does to its observation is inside, and so is the clipping of actions that environments do.

    Args:
        policy: on the CPU, without random numbers.
        num_obs: length of an observation vector.
        dtype: of observations and actions.
        control_range: what actions of -1 and 1 stand for. The program then gives controls, within these bounds.

    Raises:
        ValueError: it is no function of the observation alone: it remembers how far an episode has gone, or draws
            random numbers.
    """
    require_function(policy)
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        program = torch.export.export(
            _Clipped(policy, control_range, dtype),
            (torch.zeros(2, num_obs, dtype=dtype),),
            dynamic_shapes=({0: batch},),
        )
    # They would be saved as a pickle.
    program.example_inputs = None
    return program


def require_function(policy: Policy) -> None:
    """Raise ``ValueError`` unless a policy is a function of the observation alone, without random numbers."""
    if hasattr(policy, "restart"):
        raise ValueError(
            "the policy remembers how far an episode has gone; only a function of the observation is exported"
        )
    if getattr(policy, "generator", None) is not None:
        raise ValueError("the policy draws random numbers; export the deterministic one")


def torch_bytes(program: torch.export.ExportedProgram, about: Mapping[str, Any]) -> bytes:
    """The file that ``torch.export.load`` reads, with ``about`` as its extra file ``policy.json``."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"policy.json": json.dumps(about)})
    return file.getvalue()


def onnx_bytes(program: torch.export.ExportedProgram, about: Mapping[str, Any], num_obs: int) -> bytes:
    """The ONNX model from ``obs`` to ``action``, with ``about`` as JSON under ``policy`` in its metadata."""
    example = torch.zeros(2, num_obs, dtype=torch.float32)
    with _quiet():
        found = torch.onnx.export(
            program,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["obs"],
            output_names=["action"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert found is not None
    found.model.metadata_props["policy"] = json.dumps(about)
    return found.model_proto.SerializeToString()


def torch_policy(data: bytes) -> Callable[[Tensor], Tensor]:
    """What ``torch_bytes`` wrote, as a function."""
    return torch.export.load(io.BytesIO(data)).module()


def onnx_policy(data: bytes) -> Callable[[Tensor], Tensor]:
    """What ``onnx_bytes`` wrote, as a function that onnxruntime computes on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda obs: torch.from_numpy(session.run(["action"], {"obs": obs.numpy()})[0])


class _Clipped(nn.Module):
    def __init__(self, policy: Policy, control_range: Sequence[tuple[float, float]] | None, dtype: torch.dtype) -> None:
        super().__init__()
        self._policy = policy
        self._low: Tensor | None = None
        if control_range is not None:
            low, high = torch.tensor(control_range, dtype=torch.float64).unbind(1)
            self._low, self._high, self._middle, self._half = (
                part.to(dtype) for part in (low, high, (low + high) / 2, (high - low) / 2)
            )

    def forward(self, obs: Tensor) -> Tensor:
        action = self._policy(obs).clamp(-1.0, 1.0)
        if self._low is None:
            return action
        # Rounding must not exceed the bounds.
        return torch.addcmul(self._middle, action, self._half).clamp(self._low, self._high)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling of packages that have nothing to do with policies."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
