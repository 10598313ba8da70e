"""Headers where every environment of a user finds the same ones, so that what was compiled from them is found too."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import warp as wp

from diffsim_core._warp import start_warp


def shared_headers(folder: Path) -> Path:
    """A copy of the headers in ``folder``, in Warp's cache, in a folder that their contents name.

    Warp tells compiled modules apart by the paths of the folders they include, too. With the package's own path, each
    new environment or checkout would compile all kernels again.
    """
    start_warp()
    cache = wp.config.kernel_cache_dir
    assert cache is not None, "Warp has started"
    files = {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.h"))}
    contents = hashlib.sha256()
    for name, text in files.items():
        contents.update(f"{name.as_posix()} {len(text)}\n".encode() + text)
    place = Path(cache) / f"diffsim_headers_{contents.hexdigest()[:16]}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{place.name}_", dir=place.parent))
        for name, text in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(text)
        try:
            fresh.rename(place)  # whole or not at all, whoever else makes it now
        except OSError:
            shutil.rmtree(fresh)
            if not place.is_dir():
                raise
    return place
