"""What was installed of a package is whole, and it imports only what the package declares.

``python tests/installed.py PACKAGE``, run by ``nox -s isolated`` where nothing but the package and its extras is
installed. It sees every import of every file, inside functions too, which no choice of tests does.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(dist: Distribution) -> set[str]:
    """The distributions that it requires, those of its extras among them."""
    return {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in dist.requires or []}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of each absolute import of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


def undeclared(dist: Distribution, folder: Path) -> list[str]:
    """Imports of distributions that ``dist`` gets by the way of another one, or not at all."""
    allowed, providers = declared(dist), packages_distributions()
    wrong = []
    for path in sorted(folder.rglob("*.py")):
        for line, name in imported(path):
            if name in sys.stdlib_module_names or name == folder.name:
                continue
            # What is not installed here (an extra that only a GPU needs) goes by its own name.
            if not {normal(one) for one in providers.get(name, [name])} & allowed:
                wrong.append(f"{path.relative_to(folder.parent)}:{line}: {name}")
    return wrong


def missing(folder: Path, source: Path) -> list[str]:
    """Files of the source tree that were not installed."""
    files = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    return [str(file) for file in sorted(files) if "__pycache__" not in file.parts and not (folder / file).is_file()]


def import_all(name: str, absent: set[str]) -> int:
    """Import every module of the package but those that begin with an import from ``absent``; how many they are."""
    count = 0
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
            count += 1
        except ModuleNotFoundError as error:
            if normal((error.name or "").partition(".")[0]) not in absent:
                raise
    return count


def main(package: str) -> None:
    name = package.replace("-", "_")
    folder = Path(importlib.import_module(name).__path__[0])
    if "site-packages" not in folder.parts:
        sys.exit(f"{name} comes from {folder}, not from an installed wheel")
    if lost := missing(folder, ROOT / "packages" / package / "src" / name):
        sys.exit(f"the wheel of {package} lacks {', '.join(lost)}")
    dist = Distribution.from_name(package)
    if wrong := undeclared(dist, folder):
        sys.exit(f"{package} imports what its pyproject.toml does not declare:\n" + "\n".join(wrong))
    absent = declared(dist) - {normal(one.metadata["Name"]) for one in distributions()}
    print(f"{package}: the wheel is whole, all imports are declared, and {import_all(name, absent)} modules load")


if __name__ == "__main__":
    main(sys.argv[1])
