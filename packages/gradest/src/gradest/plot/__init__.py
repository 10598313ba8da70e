"""Figures of gradients, drawn on Matplotlib axes: the extra ``gradest[plot]``.

Every function takes NumPy, torch or JAX arrays, draws on ``ax`` (default: the current axes) and returns it, so that you
can combine and save figures as you like.
"""

from __future__ import annotations

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("gradest.plot needs Matplotlib, which is not installed: pip install 'gradest[plot]'") from error

from ._landscape import landscape_line as landscape_line
from ._landscape import landscape_plane as landscape_plane
from ._trust import alpha_trace as alpha_trace
from ._trust import gradient_norms as gradient_norms
from ._trust import horizon_curves as horizon_curves

__all__ = ["alpha_trace", "gradient_norms", "horizon_curves", "landscape_line", "landscape_plane"]
