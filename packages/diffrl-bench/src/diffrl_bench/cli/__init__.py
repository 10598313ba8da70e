"""``diffrl bench``: its arguments, output and exit codes."""

from __future__ import annotations

from ._main import main as main
from ._main import parse as parse
from ._main import parser as parser
from ._main import plot as plot
