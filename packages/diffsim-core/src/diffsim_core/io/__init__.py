"""Robot models from MJCF and URDF files."""

from __future__ import annotations

from ._load import load_model as load_model
from ._poses import load_poses as load_poses
from ._snu import load_snu as load_snu
from .errors import ModelError as ModelError
from .params import ContactParams as ContactParams
from .params import LimitParams as LimitParams
from .params import LoopParams as LoopParams
