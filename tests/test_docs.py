"""The documentation is right: every example runs, and every public name is in the API reference."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from mktestdocs import check_md_file

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")])
NEEDS = {
    "docs/engine/myosim.md": "myo_sim",
    "docs/environments/adapters.md": "rsl_rl",
    "docs/traffic/calibration.md": "libsumo",
    "docs/environments/newton.md": "newton",
    "docs/environments/brax.md": "brax",
}
"""Pages about a package that only an extra installs."""
MODULES = {
    "gradest": ["gradest", "gradest.torch", "gradest.jax", "gradest.plot"],
    "diffsim-core": [
        "diffsim_core",
        "diffsim_core.io",
        "diffsim_core.native",
        "diffsim_core.check",
        "diffsim_core.rigid",
        "diffsim_core.tasks",
        "diffsim_core.viewer",
        "diffsim_core.adapters",
    ],
    "diffsim-mpm": ["diffsim_mpm", "diffsim_mpm.tet", "diffsim_mpm.tasks"],
    "diffsim-traffic": ["diffsim_traffic", "diffsim_traffic.equilibrium", "diffsim_traffic.tasks"],
    "diffrl-algos": ["diffrl_algos", "diffrl_algos.torch", "diffrl_algos.check"],
    "diffrl-bench": ["diffrl_bench"],
}


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (module := NEEDS.get(page.relative_to(ROOT).as_posix())) is not None:
        pytest.importorskip(module)
    # What a page registers must not stay for the tests of other pages and packages.
    for registry in ("diffsim_core._registry._REGISTERED", "diffrl_algos._registry._ENTRIES"):
        module, _, name = registry.rpartition(".")
        monkeypatch.setattr(registry, dict(getattr(importlib.import_module(module), name)))
    monkeypatch.chdir(tmp_path)
    check_md_file(fpath=page, memory=True)


def public_names(module: str) -> set[str]:
    """What a module defines without an underscore, or imports by ``from x import y as y``."""
    stem = module.replace(".", "/")
    (path,) = (*ROOT.glob(f"packages/*/src/{stem}.py"), *ROOT.glob(f"packages/*/src/{stem}/__init__.py"))
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.col_offset == 0:
            names.add(node.name)
    return {f"{module}.{name}" for name in names if not name.startswith("_")}


@pytest.mark.parametrize("package", MODULES)
def test_public_names_are_in_the_reference(package: str) -> None:
    page = (ROOT / f"docs/api/{package}.md").read_text(encoding="utf-8")
    written = {line.removeprefix("::: ") for line in page.splitlines() if line.startswith("::: ")}
    assert package.replace("-", "_") in {name.split(".")[0] for name in written}
    missing = set().union(*(public_names(module) for module in MODULES[package])) - written
    assert not missing, f"not in docs/api/{package}.md: {', '.join(sorted(missing))}"
