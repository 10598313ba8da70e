"""An error of somebody's code in one line: what it says, and where."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).parent)
_LIBRARIES = tuple({sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")})


_FAMILY = ("diffsim_mpm", "diffsim_traffic", "gradest", "diffrl_algos", "diffrl_bench")


@functools.cache
def _family() -> tuple[str, ...]:
    """Folders of the packages that belong together with this one, which need not lie among the installed libraries."""
    specs = [importlib.util.find_spec(name) for name in _FAMILY]
    return tuple(folder + os.sep for spec in specs if spec for folder in spec.submodule_search_locations or ())


def is_users(file: str) -> bool:
    """Whether a file of code is neither of this family of packages nor of an installed library."""
    return not file.startswith((_HERE, *_LIBRARIES, *_family(), "<")) and "site-packages" not in file


def raised(error: BaseException) -> str:
    """``ZeroDivisionError: division by zero (robot.py, line 40, in reward)``; the place is the innermost of the user's.

    A ``ValueError`` of this package needs no place: its message says what is wrong and what to do.
    """
    text = one_line(str(error))
    found = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if is_users(frame.filename)]
    if not places or (isinstance(error, ValueError) and frames[-1].filename.startswith(_HERE)):
        return found
    return f"{found} ({Path(places[-1].filename).name}, line {places[-1].lineno}, in {places[-1].name})"


def one_line(message: str) -> str:
    """A message in one line; the items of a list in it are numbered: ``2 problems: (1) no mass; (2) no joint``."""
    head, *items = re.split(r"\n\s*- ", message)
    numbered = "; ".join(f"({i}) {' '.join(item.split())}" for i, item in enumerate(items, start=1))
    return " ".join(head.split()) + (f"{'' if head.rstrip().endswith(':') else ':'} {numbered}" if items else "")


def tried(check: Callable[..., Iterable[str]], *arguments: Any) -> list[str]:
    """The violations that a check finds; an error that ends it is one."""
    found: list[str] = []
    try:
        found.extend(check(*arguments))
    except Exception as error:  # whatever somebody's code raises is the finding
        found.append(f"{raised(error)}; this was not tested: {(check.__doc__ or '').strip()}")
    return found
