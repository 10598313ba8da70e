"""``diffrl bench report``: a page for each suite and an index, each one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ._estimates import ESTIMATES
from ._found import Found
from ._measured import FORMATS
from ._measured_page import MeasuredPage, measured_page
from ._page import Page, page_of
from ._plot_bands import panels_of, plot_bands
from ._results import write_whole
from ._summary import summarise_suite
from ._summary_text import as_csv, as_latex, as_markdown
from ._transfers import TRANSFERS


def write_report(
    suites: Sequence[Found], to: Path, command: str, progress: Callable[[str, float], None] = lambda name, part: None
) -> list[Path]:
    """Write ``SUITE.html``, ``.md``, ``.tex``, ``.csv``, ``.svg`` and ``.png`` for each suite.

    There is no picture of measurements. Of several suites there is ``index.html`` too.

    Args:
        suites: their records.
        to: folder, made if it does not exist.
        command: what was asked for, named on every page.
        progress: told the fraction that is done.

    Returns:
        The files, the page to begin with first.

    Raises:
        OSError: a file cannot be written.
    """
    to.mkdir(parents=True, exist_ok=True)
    pages: list[Page | MeasuredPage] = []
    written: list[Path] = []
    for number, found in enumerate(suites):
        name = found.suite.name
        progress("pages", number / len(suites))
        page, template = _measured(found, to) if found.suite.measurements else _trained(found, to)
        pages.append(page)
        written += [to / file for file, _ in page.files]
        write_whole(to / f"{name}.html", render(template, command, page=page, alone=len(suites) == 1))
        written.append(to / f"{name}.html")
    if len(pages) == 1:
        return written[::-1]
    total = sum(len(page.runs) for page in pages)
    write_whole(to / "index.html", render("index.html.j2", command, pages=pages, total=total))
    return [to / "index.html", *written]


def _trained(found: Found, to: Path) -> tuple[Page, str]:
    """The page of a suite of trainings, and its template; its tables and pictures are written."""
    name, beside = found.suite.name, (ESTIMATES.read(found.folder), TRANSFERS.read(found.folder))
    summary = summarise_suite(found.suite, found.rows, *beside)
    texts = {"md": as_markdown(summary) + "\n", "tex": as_latex(summary), "csv": as_csv(summary)}
    files = _write_texts(texts, name, to)
    if panels_of(found.rows):
        for kind in ("svg", "png"):
            plot_bands(found.rows, found.suite.about, to / f"{name}.{kind}")
            files.append((f"{name}.{kind}", kind.upper()))
    return page_of(found, summary, files), "suite.html.j2"


def _measured(found: Found, to: Path) -> tuple[MeasuredPage, str]:
    """The page of a suite of measurements, and its template; its tables are written."""
    texts = {kind: text(found.rows) for kind, text in FORMATS.items()}
    return measured_page(found, _write_texts(texts, found.suite.name, to)), "measured.html.j2"


_WORDS = {"md": "Markdown", "tex": "LaTeX", "csv": "CSV"}


def _write_texts(texts: Mapping[str, str], name: str, to: Path) -> list[tuple[str, str]]:
    """Write a suite's tables; names and descriptions of their files."""
    for kind, text in texts.items():
        write_whole(to / f"{name}.{kind}", text)
    return [(f"{name}.{kind}", _WORDS[kind]) for kind in texts]


def render(template: str, command: str, **values: Any) -> str:
    """A page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("diffrl_bench", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    style, _, _ = loader.get_source(environment, "style.css")
    common = {"style": Markup(style), "command": command, "version": _version()}
    return environment.get_template(template).render(**common, **values)


def _version() -> str:
    try:
        return version("diffrl-bench")
    except PackageNotFoundError:
        return "0+unknown"
