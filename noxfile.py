"""Sessions of the monorepo: ``uvx nox -l`` lists them, ``uvx nox -s NAME`` runs one.

Every session but ``lowest`` and ``newest`` installs with the pins of requirements.lock. Where pip is configured with
find-links (a folder that holds a CPU build of torch, for instance), uv is told of them too, as it does not read pip's
configuration.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox
from nox.command import CommandFailed
from packaging.requirements import Requirement

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
LOCK = "requirements.lock"
# Every package with the extras that its whole test suite asks for.
PACKAGES = {
    "gradest": "[torch,jax,plot]",
    "diffsim-core": "[torch,jax,myo,video,live,meshes,gymnasium,sb3,skrl,rsl_rl,newton,brax]",
    "diffsim-mpm": "[torch,jax,plot,mesh]",
    "diffsim-traffic": "[torch,jax,plot,sumo]",
    "diffrl-algos": "[tensorboard,wandb,export,jax]",
    "diffrl-bench": "[peers]",
}
# The session `isolated` runs what may depend on the absence of other packages or extras. Every test runs in the session
# `tests`, and tests/installed.py sees every import that is not declared, in code that no test runs too.
WITHOUT_EXTRAS = {
    "gradest": ["packages/gradest/tests"],
    "diffsim-core": ["packages/diffsim-core/tests/rigid/test_dynamics.py", "packages/diffsim-core/tests/io"],
}
# With one extra and not the other: every function once.
ONE_AT_A_TIME = {"gradest": ("torch", "jax")}
EVERY_FUNCTION = ["packages/gradest/tests", "-k", "equal_to_numpy or mixed_frameworks or import"]
ALONE = {
    "diffsim-core": ["packages/diffsim-core/tests/test_env.py", "packages/diffsim-core/tests/test_interop.py"],
    "diffsim-mpm": ["packages/diffsim-mpm/tests/test_model.py", "packages/diffsim-mpm/tests/tet/test_mesh.py"],
    "diffsim-traffic": ["packages/diffsim-traffic/tests/test_step.py", "packages/diffsim-traffic/tests/test_tasks.py"],
    "diffrl-algos": ["packages/diffrl-algos/tests/test_cli.py", "packages/diffrl-algos/tests/test_config.py"],
    "diffrl-bench": ["packages/diffrl-bench/tests/test_cli.py"],
}
BRAX = "packages/diffsim-core/tests/adapters/test_*brax*.py"
"""Tests that compile Brax."""
MODELS = "packages/diffsim-core/tests/io"
"""Tests that load large models."""
SOURCES = [ROOT / "packages" / name / "src" for name in PACKAGES]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def find_links() -> list[str]:
    """Where pip was told to look for wheels beside its index."""
    if "PIP_FIND_LINKS" in os.environ:
        return os.environ["PIP_FIND_LINKS"].split()
    pip = shutil.which("pip") or shutil.which("pip3")
    if pip is None:
        return []
    config = subprocess.run([pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^[^.\n]+\.find-links='(.*)'$", config, flags=re.MULTILINE)
    return [link for value in found for link in shlex.split(value.replace("\\n", " "))]


def links_for_uv() -> dict[str, str]:
    """The environment in which uv looks where pip does."""
    return {"UV_FIND_LINKS": ",".join(links)} if "UV_FIND_LINKS" not in os.environ and (links := find_links()) else {}


def install(session: nox.Session, *requirements: str) -> None:
    """``uv pip install`` with the repository's pins."""
    session.install("--constraint", LOCK, *requirements, env=links_for_uv())


def editable() -> list[str]:
    """Arguments that install every package in place, with its extras."""
    return [arg for name, extras in PACKAGES.items() for arg in ("--editable", f"packages/{name}{extras}")]


def pytest(session: nox.Session, *args: str, workers: str = "auto", extras: bool = True) -> None:
    """pytest in ``workers`` processes, one for each core by default; ``-n0`` among ``args`` asks for one.

    Without ``extras`` tests of what is not installed are skipped even where REQUIRE_EXTRAS=1 makes that a failure.
    """
    env = {**ONE_THREAD, **({} if extras else {"REQUIRE_EXTRAS": "0"})}
    session.run("python", "-m", "pytest", "--numprocesses", workers, "--dist", "worksteal", *args, env=env)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests of every package, on every core: ``-- packages/gradest`` or any other argument of pytest."""
    install(session, *editable(), "--group", "test")
    run_tests(session)


def run_tests(session: nox.Session) -> None:
    """All fast tests, or those that the session's arguments select."""
    if session.posargs:
        pytest(session, *session.posargs)
        return
    # Several runs, so that no process holds what all compile and load: MuJoCo takes half a gigabyte for a large model,
    # and what XLA compiles a whole one.
    core, apart = "packages/diffsim-core", [MODELS, *(str(file) for file in sorted(ROOT.glob(BRAX)))]
    others = [f"packages/{name}" for name in PACKAGES if name != "diffsim-core"]
    failed = []
    for part in ([core, *(f"--ignore={file}" for file in apart)], apart, others):
        try:
            pytest(session, *part)
        except CommandFailed:
            failed += part
    if failed:
        session.error(f"tests failed in {', '.join(failed)}")


@nox.session(reuse_venv=False)
def lowest(session: nox.Session) -> None:
    """The tests of every package with the lowest versions that the packages declare; arguments as ``tests``."""
    without_pins(session, "lowest-direct")
    run_tests(session)


@nox.session(reuse_venv=False)
def newest(session: nox.Session) -> None:
    """The tests of every package with the newest versions that the packages allow; arguments as ``tests``."""
    without_pins(session, "highest")
    run_tests(session)


def without_pins(session: nox.Session, resolution: str) -> None:
    """Install every package in place, with its extras, as users do: only what the packages declare counts.

    Packages that are declared nowhere have their newest versions in both sessions.
    """
    # The root's configuration holds torch where the lock has it.
    options = ("--no-config", "--resolution", resolution, "--upgrade")
    session.install(*options, *editable(), "--group", "test", env=links_for_uv())
    session.run("uv", "pip", "list", external=True)


@nox.session
def slow_tests(session: nox.Session) -> None:
    """Long trainings, large numbers of hostile files and the like: all of them, or ``-- packages/gradest``."""
    install(session, *editable(), "packages/diffrl-bench[jax-peers,ray,slurm]", "--group", "test")
    pytest(session, "-m", "slow and not gpu and not timing", *(session.posargs or ["packages", "tests"]))


@nox.session
def timing_tests(session: nox.Session) -> None:
    """Tests that assert how long something takes, one after another; the machine should be quiet."""
    install(session, *editable(), "--group", "test")
    pytest(session, "-m", "timing and not gpu", *(session.posargs or ["packages", "tests"]), workers="0")


@nox.session
def gpu_tests(session: nox.Session) -> None:
    """Tests on an NVIDIA GPU; with ``--no-venv``, on the torch and JAX that are already there.

    Without a GPU they are skipped; REQUIRE_GPU=1 makes that a failure.
    """
    python(session, "-m", "pytest", "-m", "gpu", *session.posargs)


@nox.session
def gpu_record(session: nox.Session) -> None:
    """GPU tests, speeds and a short training in under ten minutes, written to docs/results/gpu; ``-- --out DIR``.

    With ``--no-venv``, on the torch and JAX that are already there, and beside MJX if that is there too.
    """
    python(session, "tests/gpu_record.py", *session.posargs)


def python(session: nox.Session, *args: str) -> None:
    """Python with all packages, installed for the session or, with ``--no-venv``, from their sources."""
    if session.venv_backend != "none":
        install(session, *editable(), "--group", "test")
        session.run("python", *args)
        return
    found = shutil.which("python") or shutil.which("python3") or "python"
    path = os.pathsep.join([*map(str, SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
    session.run(found, *args, env={"PYTHONPATH": path}, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, the direction of imports, no unsafe loading, and a lock that names every dependency."""
    install(session, "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": os.pathsep.join(map(str, SOURCES))})
    forbid_unsafe_loading(session)
    check_lock(session)


def forbid_unsafe_loading(session: nox.Session) -> None:
    """Nothing that we ship or show may load data in a way that can run code."""
    unsafe = re.compile(
        r"^\s*(import|from)\s+(pickle|cPickle|_pickle|cloudpickle|dill|joblib|marshal|shelve)\b"
        r"|weights_only\s*=\s*False|allow_pickle\s*=\s*True|yaml\.(unsafe_load|load)\(|\btorch\.load\("
    )
    files = [*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if unsafe.search(line)
    ]
    if found:
        session.error("loading that can run code (use safetensors and JSON):\n" + "\n".join(found))
    session.log(f"no unsafe loading in {len(files)} files")


def check_lock(session: nox.Session) -> None:
    """requirements.lock pins every declared dependency and holds no address."""
    text = (ROOT / LOCK).read_text(encoding="utf-8")
    pins = [Requirement(line) for line in text.splitlines() if line and line[0].isalnum()]
    declared = []
    for path in [ROOT / "pyproject.toml", *ROOT.glob("packages/*/pyproject.toml")]:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        lists = [data["project"].get("dependencies", [])]
        lists += data["project"].get("optional-dependencies", {}).values()
        lists += data.get("dependency-groups", {}).values()
        declared += [Requirement(item) for items in lists for item in items if isinstance(item, str)]
    declared = [one for one in declared if one.name not in PACKAGES]
    if missing := {one.name for one in declared} - {pin.name for pin in pins}:
        session.error(f"{LOCK} does not pin {', '.join(sorted(missing))}; run nox -s lock")
    for one in declared:
        # A pin reads name==version.
        versions = [str(pin.specifier).removeprefix("==") for pin in pins if pin.name == one.name]
        if wrong := [version for version in versions if version not in one.specifier]:
            session.error(f"{LOCK} pins {one.name} {', '.join(wrong)}, but {one} is declared; run nox -s lock")
    if "://" in text or "file:" in text:
        session.error(f"{LOCK} holds an address; run nox -s lock")


@nox.session
def types(session: nox.Session) -> None:
    """pyright over every package."""
    install(session, *editable(), "--group", "types")
    session.run("pyright", *session.posargs)


def build(session: nox.Session) -> list[str]:
    """Build every package; arguments that make an installation take siblings from these wheels and nowhere else."""
    out = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(out, ignore_errors=True)
    for name in PACKAGES:
        session.run("uv", "build", "--quiet", "--package", name, "--out-dir", str(out), external=True)
    wheels = {name: next(out.glob(f"{name.replace('-', '_')}-*.whl")) for name in PACKAGES}
    siblings = out / "siblings.txt"
    siblings.write_text("".join(f"{name} @ {wheel.as_uri()}\n" for name, wheel in wheels.items()), encoding="utf-8")
    return ["--no-sources", "--constraint", str(siblings)]


def check_import(session: nox.Session, package: str) -> None:
    """The package comes from site-packages, not from this checkout, and knows its version."""
    code = f"import {package.replace('-', '_')} as p; print(p.__file__); assert 'site-packages' in p.__file__"
    session.run("python", "-I", "-c", code + "; assert p.__version__[0].isdigit() and p.__version__ != '0+unknown'")


@nox.session(reuse_venv=False)
@nox.parametrize("package", list(PACKAGES))
def isolated(session: nox.Session, package: str) -> None:
    """Each package alone in a fresh environment, with what it declares and nothing else: imports, and some tests."""
    siblings = build(session)
    install(session, *siblings, package)
    check_import(session, package)
    if package == "gradest":
        session.run("python", "tests/gradest_alone.py")
    install(session, "--group", "test")
    if package in WITHOUT_EXTRAS:
        pytest(session, *WITHOUT_EXTRAS[package], workers="0", extras=False)
    for extra in ONE_AT_A_TIME.get(package, ()):
        install(session, *siblings, f"{package}[{extra}]")
        pytest(session, *EVERY_FUNCTION, workers="0", extras=False)
        session.run("uv", "pip", "uninstall", "--quiet", extra, external=True)
    install(session, *siblings, f"{package}{PACKAGES[package]}")
    session.run("python", "tests/installed.py", package)
    if package in ALONE:
        pytest(session, *ALONE[package], workers="0", extras=False)


@nox.session(reuse_venv=False)
def wheels(session: nox.Session) -> None:
    """Build every package, install the wheels together and run all tests against them."""
    install(session, *build(session), *(name + extras for name, extras in PACKAGES.items()), "--group", "test")
    for package in PACKAGES:
        check_import(session, package)
    pytest(session, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation (``-- serve`` to read it while writing), then run the examples in it, as ``tests``."""
    install(session, "--group", "docs")
    env = {"NO_MKDOCS_2_WARNING": "1"}
    if session.posargs:
        session.run("mkdocs", *session.posargs, env=env)
        return
    session.run("mkdocs", "build", "--strict", env=env)
    session.notify("tests", ["tests"])


@nox.session
def train(session: nox.Session) -> None:
    """Train and evaluate: ``nox -s train -- shac cartpole``, and any option of ``diffrl train``."""
    if not session.posargs:
        session.error("say what to train, for instance: nox -s train -- shac cartpole")
    install(session, "--editable", "packages/diffrl-algos")
    session.run("diffrl", "train", *session.posargs)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """An environment in .venv with every package in place and every tool."""
    env = {"UV_FIND_LINKS": ",".join(links)} if (links := find_links()) else {}
    session.run("uv", "venv", "--allow-existing", ".venv", external=True)
    install_dev = ["uv", "pip", "install", "--python", ".venv", "--constraint", LOCK, *editable(), "--group", "dev"]
    session.run(*install_dev, env=env, external=True)
    session.log("now: source .venv/bin/activate")


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Resolve again and write requirements.lock (``-- --upgrade`` for newer versions)."""
    # Local folders and private indexes must not leak into the lock.
    clean: dict[str, str | None] = dict.fromkeys(["UV_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_TORCH_BACKEND"])
    session.run("uv", "lock", *session.posargs, env=clean, external=True)
    export = ["uv", "export", "--quiet", "--format", "requirements-txt", "--no-emit-workspace", "--no-hashes"]
    export += ["--all-packages", "--all-extras", "--all-groups", "--no-annotate", "--no-header"]
    session.run(*export, "--output-file", LOCK, env=clean, external=True)
    check_lock(session)
