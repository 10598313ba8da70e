"""Gradients of single samples and of single steps' advantages, by torch's own transforms."""

from __future__ import annotations

from ._gae import gae_gradient as gae_gradient
from ._gae import gae_gradient_by_steps as gae_gradient_by_steps
from ._per_sample import per_sample_gradients as per_sample_gradients
from ._per_sample import unflatten_like as unflatten_like

__all__ = ["gae_gradient", "gae_gradient_by_steps", "per_sample_gradients", "unflatten_like"]
