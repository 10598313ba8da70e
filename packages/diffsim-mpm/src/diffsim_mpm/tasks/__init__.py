"""Tasks on deformable bodies. ``diffsim_core.make`` knows their names if this package is installed."""

from __future__ import annotations

from diffsim_mpm.tasks.soft_jumper import SoftJumper as SoftJumper
