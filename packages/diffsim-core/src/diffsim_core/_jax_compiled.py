"""What JAX compiles for minutes: a word to whoever waits for it, and a folder that keeps it for the next process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

_PATIENCE = 5.0
"""Seconds after which it says what it waits for; less is no long wait."""


def keep_compiled() -> Path | None:
    """Let JAX keep what it compiles in the user's cache folder, unless a folder is set, or the cache is turned off.

    Returns:
        The folder; None if nothing is kept.
    """
    config: Any = jax.config
    if not config.jax_enable_compilation_cache:
        return None
    folder = config.jax_compilation_cache_dir
    if folder is None:
        folder = str(_user_cache() / "diffsim" / "jax")
        jax.config.update("jax_compilation_cache_dir", folder)
    return Path(folder)


@contextmanager
def compiling(what: str) -> Iterator[None]:
    """A context in which JAX compiles ``what``: it is kept for later processes, and a long one says so on stderr.

    What is compiled is kept in the user's cache folder, unless ``jax_compilation_cache_dir`` names another one or
    ``jax_enable_compilation_cache`` is off.
    """
    folder = keep_compiled()
    kept = "" if folder is None else f"; later runs find it in {folder}"
    timer = threading.Timer(_PATIENCE, _say, (f"JAX compiles {what}, which may take minutes{kept}",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _user_cache() -> Path:
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
