"""``python -m diffrl_bench`` is ``diffrl bench``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
