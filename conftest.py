"""Shared by the tests of every package."""

from __future__ import annotations

import os

# Before torch or NumPy load: at the sizes of these tests more threads only wait for each other.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import hypothesis
import pytest

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def has_gpu() -> bool:
    """Whether an NVIDIA GPU can be used."""
    try:
        import torch

        return torch.cuda.is_available()
    except ImportError:
        return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` need one: without it they are skipped, or fail where REQUIRE_GPU=1."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if "gpu" not in str(config.option.markexpr) or "not gpu" in config.option.markexpr or has_gpu():
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.exit("REQUIRE_GPU=1, but torch sees no NVIDIA GPU here", returncode=1)
    for item in marked:
        item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here"))
