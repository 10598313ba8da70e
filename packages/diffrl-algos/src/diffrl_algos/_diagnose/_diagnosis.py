"""``Diagnosis``: the result of ``diagnose``, as numbers, as text and as a figure."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._fields import spelled
from .._files import plain, write_atomic
from ._measures import Measure
from ._recommend import Recommendation, about, magnitude
from ._verdict import BAD, MEANINGS, Thresholds, Verdict

FORMATS = (".svg", ".png", ".pdf")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found for one lookahead: at a step, in a group of states, or in all of them."""

    lookahead: int
    """Control steps over which rewards count, from the step of the action on."""
    verdict: Verdict
    measure: Measure

    def to_json(self) -> dict[str, Any]:
        return {"lookahead": self.lookahead, "verdict": self.verdict, **self.measure.to_json()}


@dataclass(frozen=True, kw_only=True)
class StepFinding:
    """What was found at one step of the episodes."""

    step: int
    """Control steps since the worlds began."""
    reward: float
    """Mean over worlds."""
    metrics: Mapping[str, float]
    """Means over worlds of the task's metrics."""
    contacts: Mapping[str, float]
    """Share of worlds in which each part touches the ground; empty where nothing can."""
    findings: tuple[Finding, ...]
    """One for each lookahead."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "findings": [found.to_json() for found in self.findings]}


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Where first-order gradients of a task can be trusted, and what to train with."""

    about: Mapping[str, Any]
    """What was diagnosed: task, its options, the run and its iteration or a fresh policy, and the settings."""
    dt: float
    """Duration of a control step [s]."""
    lookaheads: tuple[int, ...]
    thresholds: Thresholds
    steps: tuple[StepFinding, ...]
    overall: tuple[Finding, ...]
    """All steps together, one for each lookahead."""
    states: Mapping[str, tuple[Finding, ...]]
    """Groups of states, by name."""
    recommendation: Recommendation
    complete: bool = True
    """Whether all steps were examined, or the time ended before."""

    def to_json(self) -> dict[str, Any]:
        """Everything as one JSON object; equal seeds give equal objects, unless the time ended."""
        return plain(
            {
                **self.about,
                "complete": self.complete,
                "dt": self.dt,
                "lookaheads": self.lookaheads,
                "thresholds": self.thresholds.to_json(),
                "recommendation": self.recommendation.to_json(),
                "overall": [found.to_json() for found in self.overall],
                "states": {name: [found.to_json() for found in row] for name, row in self.states.items()},
                "steps": [step.to_json() for step in self.steps],
            }
        )

    def text(self) -> str:
        """A table of the lookaheads, one of the groups of states, and the recommendation."""
        return "\n".join(self._lines())

    def write(self, folder: Path | str, formats: Sequence[str] = (".svg", ".png")) -> list[Path]:
        """Write ``diagnosis.json``, and the figure in each of ``formats``; the folder is made.

        Raises:
            ImportError: Matplotlib is not installed, and there are formats.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "diagnosis.json"]
        write_atomic(files[0], (json.dumps(self.to_json(), allow_nan=False, indent=1) + "\n").encode())
        return files + [self.plot(folder / f"diagnosis{suffix}") for suffix in formats]

    def plot(self, file: Path | str) -> Path:
        """Draw the figure; the ending of ``file`` says how: .svg, .png or .pdf.

        Raises:
            ImportError: Matplotlib is not installed.
            ValueError: the ending is none of these.
        """
        file = Path(file)
        if file.suffix not in FORMATS:
            raise ValueError(f"{file} must end in {', '.join(FORMATS)}")
        require_plots()
        importlib.import_module("._plot", __package__).plot_diagnosis(self, file)  # it sees this module
        return file

    @property
    def shown(self) -> int:
        """The lookahead that pictures and tables of steps show: the recommended horizon, or the longest."""
        horizon = self.recommendation.horizon
        return horizon if horizon in self.lookaheads else self.lookaheads[-1]

    @property
    def options(self) -> str:
        """The options of the task in one line; empty if it has its own."""
        options = self.about.get("task_options", {})
        return ", ".join(f"{name}={spelled(value)}" for name, value in options.items() if name != "fused")

    def column(self, lookahead: int) -> list[Finding]:
        """What each step says for a lookahead."""
        k = self.lookaheads.index(lookahead)
        return [step.findings[k] for step in self.steps]

    def _lines(self) -> Iterator[str]:
        a, best = self.about, self.recommendation
        options = f" with {self.options}" if self.options else ""
        yield f"{a['task']}{options}, {a['policy']}"
        yield (
            f"{len(self.steps)} steps from {self.steps[0].step} to {self.steps[-1].step}, {a['num_envs']} states at "
            f"each, {a['samples']} roll-outs from each state"
        )
        yield ""
        yield from _table(_HEAD, [_row(str(f.lookahead), f, self._shares(k)) for k, f in enumerate(self.overall)])
        yield ""
        yield f"states, over a lookahead of {self.shown}:"
        k = self.lookaheads.index(self.shown)
        yield from _table(_HEAD[:-1], [_row(name, row[k]) for name, row in self.states.items()])
        yield ""
        used: list[Verdict] = [found.verdict for step in self.steps for found in step.findings]
        for word in dict.fromkeys(used):
            yield f"{word}: {MEANINGS[word]}"
        yield ""
        worst = self._worst()
        if worst:
            yield worst
        horizon = "" if best.horizon is None else f" --horizon {best.horizon}"
        yield f"recommended: {best.algorithm}{horizon}: {about(best.algorithm)}"
        yield from (f"  because {reason}" for reason in best.reasons)
        yield from (f"  or {name}: {why}" for name, why in best.alternatives)
        yield from (f"  in doubt: {doubt}" for doubt in best.doubts)
        if not self.complete:
            yield "  the time ended before all steps were examined; the others are spread over the same episodes"

    def _shares(self, k: int) -> str:
        """How many steps have each verdict at a lookahead."""
        words = [step.findings[k].verdict for step in self.steps]
        return ", ".join(f"{words.count(word)} {word}" for word in MEANINGS if word in words)

    def _worst(self) -> str | None:
        """The bad steps at the shown lookahead, in one line."""
        bad = [(s.step, f) for s, f in zip(self.steps, self.column(self.shown), strict=True) if f.verdict in BAD]
        if not bad:
            return None
        named = ", ".join(f"{step} ({found.verdict})" for step, found in bad[:12])
        more = f" and {len(bad) - 12} more" if len(bad) > 12 else ""
        return f"steps to look at, over a lookahead of {self.shown}: {named}{more}"


_HEAD = ("lookahead", "verdict", "cosine", "SNR", "SNR of LR", "lost", "outliers", "gained", "promised", "steps")


def _row(name: str, found: Finding, *more: str) -> tuple[str, ...]:
    m = found.measure
    cosine = (
        "-" if m.cosine is None else f"{m.cosine:.2f} ± {'?' if m.cosine_error is None else f'{m.cosine_error:.2f}'}"
    )
    snr = [magnitude(None if value is None else max(value, 0.0)) for value in (m.snr, m.snr_zeroth)]
    gained = "-" if m.gained is None else f"{magnitude(m.gained)} ± {magnitude(m.gained_error)}"
    return (
        name,
        found.verdict,
        cosine,
        *snr,
        f"{m.lost:.0%}",
        f"{m.outliers:.0%}",
        gained,
        magnitude(m.promised),
        *more,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned columns, all to the left."""
    widths = [max(len(line[k]) for line in (head, *rows)) for k in range(len(head))]
    for line in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def require_plots() -> None:
    """Raise ``ImportError`` with the remedy unless Matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "figures need Matplotlib, which is not installed: pip install 'diffrl-algos[plot]'"
        ) from error
