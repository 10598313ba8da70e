"""Public names, which are imported when they are first asked for."""

from __future__ import annotations

import ast
from pathlib import Path

import diffrl_algos


def test_every_name_that_type_checkers_see_is_there():
    tree = ast.parse(Path(diffrl_algos.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module]
    seen = {alias.asname: node.module for node in imports for alias in node.names if alias.asname}
    assert seen == diffrl_algos._LAZY and len(seen) > 30
    assert all(getattr(diffrl_algos, name) is not None for name in seen)
