"""``python -m diffrl_algos`` is the ``diffrl`` command; ``torchrun`` starts it so."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
