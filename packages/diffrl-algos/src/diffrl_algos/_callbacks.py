"""Callbacks of a run: the progress line, the log, checkpoints, dumps of diverged worlds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from . import _processes
from ._algorithm import Algorithm
from ._evaluate import returns_text
from ._files import plain
from ._run import Run
from ._streams import Forgiving
from ._train import Callback, Status, Update

_MAX_DUMPS = 100


class StatusLine:
    """What is going on, in one line: a terminal redraws it, a file or a pipe gets a new one; nobody has to read it."""

    def __init__(self, out: IO[str]) -> None:
        self._out = Forgiving(out)
        self._redraws = out.isatty()
        self.interval = 0.2 if self._redraws else 10.0
        """Time after which it is worth showing again [s]."""

    def show(self, text: str, *, stays: bool = False) -> None:
        """Show ``text`` in place of the last one, unless that stays."""
        end = "\n" if stays or not self._redraws else ""
        self._out.write(f"\r\x1b[2K{text}{end}" if self._redraws else f"{text}{end}")
        self._out.flush()

    def clear(self) -> None:
        """Leave an empty line on a terminal."""
        if self._redraws:
            self.show("")


class PartLine:
    """The part of long work that is being done, how much of it is, and the time that is left of it.

    Args:
        line: where to show it.
        parts: the names of all parts in their order; without them parts are not numbered.
    """

    def __init__(self, line: StatusLine, parts: Sequence[str] = ()) -> None:
        self._line = line
        self._numbers = {name: f"part {k + 1} of {len(parts)}, " for k, name in enumerate(parts)}
        self._name, self._began, self._shown = "", 0.0, 0.0

    def show(self, name: str, part: float) -> None:
        """Part ``name`` is done up to ``part``, from 0 to 1."""
        now = time.perf_counter()
        if name != self._name:
            self._name, self._began = name, now
        elif now - self._shown < self._line.interval:
            return
        self._shown = now
        left = f"  {clock((now - self._began) * (1 - part) / part)} left of this part" if part > 0 else ""
        self._line.show(f"{self._numbers.get(name, '')}{name}  {part:4.0%}{left}")


class ProgressLine(Callback):
    """One line with iteration, steps per second, return and remaining time, behind a ``title``; see ``StatusLine``."""

    def __init__(self, out: IO[str], title: str = "") -> None:
        self._line = StatusLine(out)
        self.title = title
        self._told: set[str] = set()

    def on_start(self, state: Any, fraction: float) -> None:
        self._start = self._shown = time.perf_counter()
        self._first_steps, self._first_fraction = state.env_steps, fraction

    def on_update(self, update: Update) -> None:
        for text in not_finite(update):
            if text not in self._told:
                self._told.add(text)
                self._line.show(text, stays=True)
        now = time.perf_counter()
        if now - self._shown >= self._line.interval:
            self._shown = now
            self._line.show(self._text(update))

    def on_evaluation(self, update: Update, of: str = "") -> None:
        evaluation = update.evaluation
        assert evaluation is not None
        text = f"{of}evaluation at iteration {update.metrics['iteration']}: {returns_text(evaluation.to_json())}"
        self._line.show(text, stays=True)

    def on_stop(self, update: Update | None, status: Status) -> None:
        if update is not None:
            self._line.show(self._text(update), stays=True)

    def _text(self, update: Update) -> str:
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        gained = update.fraction - self._first_fraction
        remaining = elapsed * max(0.0, 1.0 - update.fraction) / gained if gained > 0 else float("nan")
        rate = (update.metrics["env_steps"] - self._first_steps) / elapsed
        return f"{self.title}{progress_text(update, rate, remaining)}"


def not_finite(update: Update) -> list[str]:
    """What of the task, not of its physics, was not finite in this update, in words; each once."""
    found = [cause for one in update.divergences if (cause := getattr(one, "cause", ""))]
    found += ["the reward is not finite"] if update.metrics.get("rewards_not_finite") else []
    return [f"{cause}; diffrl check says where in the task" for cause in dict.fromkeys(found)]


def progress_text(update: Update, rate: float, remaining_s: float) -> str:
    """``iteration 120  12 %  245,760 steps  19,300 steps/s  return -812.4  0:01:30 left``."""
    metrics = update.metrics
    score = metrics["return_mean"]
    parts = [
        f"iteration {metrics['iteration']}",
        f"{min(1.0, update.fraction):4.0%}",
        f"{metrics['env_steps']:,} steps",
        f"{rate:,.0f} steps/s",
        f"return {score:.1f}" if score is not None else "return not known yet",
        f"{clock(remaining_s)} left",
    ]
    for name, words in (("diverged", "diverged worlds"), ("refused_updates", "rejected updates")):
        if metrics.get(name):
            parts.append(f"{metrics[name]} {words}")
    return "  ".join(parts)


class MetricsLog(Callback):
    """Appends every update to ``metrics.jsonl`` and every evaluation to ``evaluations.jsonl``."""

    def __init__(self, run: Run) -> None:
        self._folder = run.path

    def on_evaluation(self, update: Update) -> None:
        assert update.evaluation is not None
        when = {name: update.metrics[name] for name in ("iteration", "env_steps", "wall_s")}
        self._append("evaluations.jsonl", {**when, **update.evaluation.to_json()})

    def on_update(self, update: Update) -> None:
        self._append("metrics.jsonl", update.metrics)

    def _append(self, name: str, metrics: Mapping[str, Any]) -> None:
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(metrics), allow_nan=False) + "\n")


class Checkpointer(Callback):
    """Saves every ``checkpoint_every`` updates, at the best evaluation so far, and when training stops or fails.

    Each of several processes has one, because a checkpoint gathers the arrays of all; process 0 writes. With several
    processes it saves at every evaluation, because the others know when those are but not how good.
    """

    def __init__(self, run: Run, algorithm: Algorithm) -> None:
        self._run, self._algorithm = run, algorithm
        self._saved = -1

    def on_update(self, update: Update) -> None:
        if update.metrics["iteration"] % self._run.spec.checkpoint_every == 0 or self._evaluated(update):
            self._save(update)

    def on_stop(self, update: Update | None, status: Status) -> None:
        saved = self._saved
        if status == "failed":
            if _processes.size() > 1:
                return  # a checkpoint gathers arrays, and the other processes may be gone
            # Perhaps the update after this one was saved, and the run failed then; its steps in the replay buffer stay.
            saved = self._run.last_iteration()
        if update is not None and update.metrics["iteration"] > saved:
            self._save(update)

    def _evaluated(self, update: Update) -> bool:
        every, evaluation = self._run.spec.eval_every, update.evaluation
        if _processes.size() == 1:
            return evaluation is not None and self._run.is_better(evaluation.score)
        return every is not None and (update.metrics["iteration"] % every == 0 or update.fraction >= 1.0)

    def _save(self, update: Update) -> None:
        evaluated = update.evaluation.score if update.evaluation is not None else None
        arrays = self._algorithm.to_arrays(update.state)
        if _processes.rank() == 0:
            self._run.save(arrays, update.metrics, evaluated)
        self._saved = update.metrics["iteration"]


class DivergenceLog(Callback):
    """Writes diverged worlds to ``divergences/``, of the first 100 updates that have any."""

    def __init__(self, run: Run) -> None:
        self._folder = run.path / "divergences"

    def on_update(self, update: Update) -> None:
        if not update.divergences:
            return
        from diffsim_core import save_divergences

        self._folder.mkdir(exist_ok=True)
        if sum(1 for _ in self._folder.glob("*.npz")) < _MAX_DUMPS:
            mark = f"-{_processes.rank()}" if _processes.size() > 1 else ""
            save_divergences(self._folder / f"{update.metrics['iteration']:08d}{mark}.npz", update.divergences)


def clock(seconds: float) -> str:
    """``1:02:03``; ``?`` where it is not known."""
    if seconds != seconds:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
