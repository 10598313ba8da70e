"""Compiled kernels are found again whatever folder a package is installed in."""

from __future__ import annotations

from pathlib import Path

import pytest
import warp as wp

from diffsim_core._warp import start_warp
from diffsim_core.native import shared_headers
from diffsim_core.rigid._headers import SOURCE
from diffsim_core.rigid._kernels import SizeClass, kernels


def package(folder: Path, text: str) -> Path:
    (folder / "joints").mkdir(parents=True)
    (folder / "step.h").write_text('#include "joints/hinge.h"\n', encoding="utf-8")
    (folder / "joints" / "hinge.h").write_text(text, encoding="utf-8")
    return folder


def test_the_place_is_named_by_what_the_headers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_warp()  # which sets the folder for good
    monkeypatch.setattr(wp.config, "kernel_cache_dir", str(tmp_path / "cache"))
    first, second, other = (
        shared_headers(package(tmp_path / name, text)) for name, text in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    assert first == second != other
    assert (other / "step.h").is_file() and (other / "joints" / "hinge.h").read_text(encoding="utf-8") == "2"
    assert sorted((tmp_path / "cache").iterdir()) == sorted((first, other)), "nothing half made is left"


def test_the_engine_is_compiled_from_there() -> None:
    module = kernels("float32", False, SizeClass.of(9, 14, 81, 8, on_cuda=False)).module
    folders = [str(folder) for folder in module.options["extra_build_options"].extra_cpu_include_dirs]
    cache = wp.config.kernel_cache_dir
    assert cache is not None and len(folders) == 2 and all(Path(folder).parent == Path(cache) for folder in folders)
    assert not any(str(SOURCE.parents[1]) in folder for folder in folders)
