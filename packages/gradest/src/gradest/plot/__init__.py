"""Pictures of gradients, drawn on Matplotlib axes: the extra ``gradest[plot]``.

Every function takes arrays of any of the three frameworks, draws on ``ax`` (the current axes by default) and returns
it, so that pictures can be put together and saved as one likes.
"""

from __future__ import annotations

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "gradest.plot draws with Matplotlib, which is not installed; pip install gradest[plot]"
    ) from error

from ._landscape import landscape_line as landscape_line
from ._landscape import landscape_plane as landscape_plane
from ._trust import alpha_trace as alpha_trace
from ._trust import gradient_norms as gradient_norms
from ._trust import horizon_curves as horizon_curves

__all__ = ["alpha_trace", "gradient_norms", "horizon_curves", "landscape_line", "landscape_plane"]
