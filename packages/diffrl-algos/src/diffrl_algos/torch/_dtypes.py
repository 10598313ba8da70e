"""Number types that compiled code has."""

from __future__ import annotations

import torch

DTYPES = {torch.float32: "float32", torch.float64: "float64"}
