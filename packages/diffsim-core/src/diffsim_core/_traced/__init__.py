"""Steps in one operation: a task's array code traced, differentiated, and compiled by the compiler that Warp brings.

An environment made with ``fused=True`` uses it; see ``docs/development/traced-tasks.md`` for how it works.
"""

from __future__ import annotations

from diffsim_core._traced._agree import differentiated as differentiated
from diffsim_core._traced._agree import disagreement as disagreement
from diffsim_core._traced._fused import Different as Different
from diffsim_core._traced._fused import FusedStep as FusedStep
from diffsim_core._traced._fused import compiled_node as compiled_node
from diffsim_core._traced._graph import Untraceable as Untraceable
from diffsim_core._traced._ops import OPS as OPS
from diffsim_core._traced._recording import NotRecorded as NotRecorded
from diffsim_core._traced._recording import Recording as Recording
from diffsim_core._traced._recording import StepCotangents as StepCotangents
from diffsim_core._traced._recording import added as added
