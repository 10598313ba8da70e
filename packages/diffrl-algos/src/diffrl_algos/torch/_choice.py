"""The choice between torch's operations and compiled code."""

from __future__ import annotations

import torch

from .._config import Code
from .._processes import size
from ._mlp import MLP, Network


def is_native(field: str, choice: Code, network: Network, device: torch.device, *, alone: bool = False) -> bool:
    """Whether compiled code serves a network.

    Args:
        field: of the configuration, for the message.
        choice: its value.
        network: the network.
        device: where its parameters are.
        alone: whether compiled code serves single processes only.

    Raises:
        ValueError: compiled code was asked for, and cannot serve it; the message says why.
    """
    why = None
    if not isinstance(network, MLP):
        why = "the network has an encoder"
    elif device.type != "cpu":
        why = f"the device is {device}"
    elif alone and size() > 1:
        why = f"this run has {size()} processes"
    if choice == "native" and why is not None:
        raise ValueError(f"{field} is native, but {why}; use {field}=auto or {field}=torch")
    return choice != "torch" and why is None
