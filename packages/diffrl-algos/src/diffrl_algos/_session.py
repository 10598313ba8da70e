"""A run from beginning to end: folder, training, checkpoints, evaluation, summary."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _processes
from ._callbacks import Checkpointer, DivergenceLog, MetricsLog
from ._errors import LostProcessError, RunError, UsageError
from ._evaluate import Evaluation, Evaluator, evaluate
from ._folders import together_at
from ._imports import resume_command
from ._loggers import TensorBoardLog, WandbLog
from ._run import Run
from ._seeds import require_alike, require_together
from ._signals import Interrupted, StopSignals, stop_on_signals
from ._spec import RunSpec
from ._start import started
from ._states import restore
from ._together import Clock, Training, train_together
from ._train import Callback, TrainResult, begin_training, was_reached

if TYPE_CHECKING:
    from diffsim_core import Env

_MAX_EVAL_WORLDS = 1024


class Planned(NamedTuple):
    """A new run, and where it is to be."""

    spec: RunSpec
    path: Path
    callbacks: Sequence[Callback] = ()


class Ready(NamedTuple):
    """A run that can be trained."""

    run: Run
    state: Any
    wall_s: float
    """Training time so far [s]."""
    score: float | None
    """The last mean return, if known."""
    callbacks: Sequence[Callback]

    @property
    def used_up(self) -> bool:
        """Whether it was cut off in the evaluation that ends it: nothing is left to train."""
        return self.run.spec.budget.fraction(self.state.iteration, self.state.env_steps, self.wall_s) >= 1.0


def start_run(
    spec: RunSpec, path: Path, *, callbacks: Sequence[Callback] = (), stop_after: int | None = None
) -> dict[str, Any]:
    """Train in a new folder, evaluate, and return the summary (see ``summary.json``).

    Started by ``torchrun``, its processes share the worlds of the run.

    Raises:
        Interrupted: a signal came before the first update, or a second Ctrl-C during one.
    """
    return start_runs([Planned(spec, path, callbacks)], stop_after=stop_after)[0]


def start_runs(planned: Sequence[Planned], *, stop_after: int | None = None) -> list[dict[str, Any]]:
    """``start_run`` for runs that differ in their seeds alone, by updates that are computed together.

    Raises:
        UsageError: their updates cannot be computed together. Nothing has been made.
    """
    require_alike([one.spec for one in planned])
    with stop_on_signals() as stop, _processes.started(planned[0].spec.device), contextlib.ExitStack() as held:
        planned = [one._replace(path=Path(_processes.same_text(str(one.path)))) for one in planned]
        begun = [started(one.spec) for one in planned]
        loggers = [_loggers(one.spec, one.path) for one in planned]
        algorithm = planned[0].spec.build()
        arrays = [algorithm.to_arrays(first[0]) for first in begun]
        require_together(algorithm, [first[0] for first in begun])

        def create() -> list[Run]:
            for one in planned:
                Run.require_free(one.path, one.spec)
            return [create_one(*each) for each in zip(planned, begun, arrays, strict=True)]

        def create_one(one: Planned, first: tuple[Any, float, float | None, Run | None], arrays: Any) -> Run:
            state, wall_s, score, before = first
            run = Run.create(one.path, one.spec, arrays)
            held.enter_context(run.locked())
            if one.spec.start is not None:
                _take_over(run, state, arrays, wall_s, score, before)
            return run

        with stop.held():
            runs = _processes.lead(create) or [Run.open(one.path) for one in planned]
            each = zip(runs, begun, loggers, planned, strict=True)
            ready = [Ready(run, *first[:3], [*logs, *one.callbacks]) for run, first, logs, one in each]
            results, name = _learn(algorithm, ready, stop_after, stop)
        return _conclude(ready, results, name, stop)


def resume_run(path: Path, *, callbacks: Sequence[Callback] = (), stop_after: int | None = None) -> dict[str, Any]:
    """Go on with a run from its last checkpoint; a complete run gives its summary again.

    A run without a checkpoint begins again.

    Raises:
        RunError: ``path`` is no run folder, or another process is training in it.
        CheckpointError: the last checkpoint is damaged; the run is left as it was.
        Interrupted: as ``start_run``.
    """
    return resume_runs([path], callbacks=lambda run: callbacks, stop_after=stop_after)[0]


def resume_runs(
    paths: Sequence[Path], *, callbacks: Callable[[Run], Sequence[Callback]], stop_after: int | None = None
) -> list[dict[str, Any]]:
    """``resume_run`` for runs that differ in their seeds alone; each goes on from its own last checkpoint.

    Raises:
        UsageError: their updates cannot be computed together.
    """
    opened = [Run.open(path) for path in paths]
    summaries = {run.path: run.summary() for run in opened}
    runs = [run for run in opened if summaries[run.path] is None]
    if runs:
        summaries |= dict(zip((run.path for run in runs), _go_on(runs, callbacks, stop_after), strict=True))
    return [summary for summary in summaries.values() if summary is not None]


def _go_on(
    runs: Sequence[Run], callbacks: Callable[[Run], Sequence[Callback]], stop_after: int | None
) -> list[dict[str, Any]]:
    """The summaries of runs that were not complete."""
    require_alike([run.spec for run in runs])
    with stop_on_signals() as stop, _processes.started(runs[0].spec.device), contextlib.ExitStack() as held:
        loggers = [_loggers(run.spec, run.path) for run in runs]
        _processes.lead(lambda: [held.enter_context(run.locked()) for run in runs])
        ready = [_restored(run, [*logs, *callbacks(run)]) for run, logs in zip(runs, loggers, strict=True)]
        algorithm = runs[0].spec.build()
        require_together(algorithm, [one.state for one in ready])
        with stop.held():
            _processes.lead(lambda: [one.run.prepare_resume(one.state.iteration) for one in ready])
            results, name = _learn(algorithm, [_scored(one) for one in ready], stop_after, stop)
        return _conclude(ready, results, name, stop)


def _restored(run: Run, callbacks: Sequence[Callback]) -> Ready:
    """A run where its last checkpoint is."""
    if run.has_checkpoint():
        state, manifest = restore(run, "last", whole=True)
        return Ready(run, state, manifest.wall_s, manifest.return_mean, callbacks)
    # Killed before its first checkpoint: begin again, which gives the same bits.
    state, wall_s, score, before = started(run.spec)
    if run.spec.start is not None:
        arrays = run.spec.build().to_arrays(state)
        _processes.lead(lambda: _take_over(run, state, arrays, wall_s, score, before))
    return Ready(run, state, wall_s, score, callbacks)


def _scored(ready: Ready) -> Ready:
    """With the score of the evaluation at its last update, where there are evaluations."""
    if ready.run.spec.eval_every is None:
        return ready
    found = {line["iteration"]: line.get("score", line.get("return_mean")) for line in ready.run.evaluations()}
    return ready._replace(score=found.get(ready.state.iteration))


def _take_over(run: Run, state: Any, arrays: Any, wall_s: float, score: float | None, before: Run | None) -> None:
    """Save what a run has from the one that it begins with, which is not needed from then on."""
    run.take_records(before, state.iteration)
    figures = {"iteration": state.iteration, "env_steps": state.env_steps, "wall_s": wall_s}
    run.save(arrays, {**figures, "return_mean": score})


def evaluate_run(
    path: Path, *, episodes: int | None = None, seed: int | None = None, deterministic: bool = True, which: str = "last"
) -> dict[str, Any]:
    """Evaluate a checkpoint of a run on fresh worlds. By default the evaluation that ended the run."""
    run = Run.open(path)
    state, _ = restore(run, which)
    env = _worlds_of_evaluation(run.spec, state.env, episodes)
    return _evaluation(run, state, env, episodes, seed, deterministic)


def evaluation_seed(seed: int) -> int:
    """Seed of the worlds that end a run: other worlds than those it was trained in."""
    return (seed + 1_000_003) % 2**31


def _loggers(spec: RunSpec, path: Path) -> list[Callback]:
    """Loggers that the run asks for; ``UsageError`` where one is not installed."""
    found: list[Callback] = [TensorBoardLog(path / "tensorboard")] if spec.tensorboard else []
    return found + ([WandbLog(spec.wandb, path, spec.to_json())] if spec.wandb is not None else [])


def more_worlds(spec: RunSpec, env: Env, most: int) -> Env:
    """New worlds of a run, ``most`` of them; where each is a process of its own, no more than ``env`` has."""
    each = getattr(env, "world_processes", False)
    return spec.make_env(min(most, spec.num_envs) if each else most)


def _evaluators(ready: Sequence[Ready]) -> list[Evaluator | None]:
    """Evaluations on the way take other worlds than the one at the end, which they may choose the policy of."""
    spec = ready[0].run.spec
    if spec.eval_every is None or _processes.rank() > 0:
        return [None] * len(ready)
    env = _worlds_of_evaluation(spec, ready[0].state.env)
    seeds = [(one.run.spec.seed + 2_000_003) % 2**31 for one in ready]
    return [Evaluator(env=env, every=spec.eval_every, episodes=spec.eval_episodes, seed=seed) for seed in seeds]


def _learn(
    algorithm: Any, ready: Sequence[Ready], stop_after: int | None, stop: StopSignals
) -> tuple[list[TrainResult], str | None]:
    """Train; the results, and the name of the signal that any of the processes received."""
    clock = Clock()

    def begin(one: Ready, evaluator: Evaluator | None) -> Training:
        spec = one.run.spec
        mine = [Checkpointer(one.run, algorithm), DivergenceLog(one.run)]
        if _processes.rank() == 0:
            mine = [MetricsLog(one.run), *mine, *one.callbacks]
        return begin_training(
            algorithm,
            one.state.env,
            spec.budget,
            mine,
            state=one.state,
            wall_s=one.wall_s,
            stop_after=stop_after,
            evaluator=evaluator,
            stop_at_return=spec.stop_at_return,
            score=one.score,
            clock=clock,
        )

    def update(states: Sequence[Any]) -> Sequence[tuple[Any, Any]]:
        return algorithm.update_together(states) if len(states) > 1 else [algorithm.update(states[0])]

    left = [one for one in ready if not one.used_up]
    with _way_on([one.run for one in ready]):
        trainings = [begin(*each) for each in zip(left, _evaluators(left) if left else [], strict=True)]
        trained = iter(train_together(trainings, update, lambda: stop.received is not None))
        results = [_used_up(one) if one.used_up else next(trained) for one in ready]
        # No process goes before all have come here: torchrun ends the others once one has failed.
        number = int(_processes.highest(0.0 if stop.received is None else signal.Signals[stop.received]))
    return results, signal.Signals(number).name if number else None


def _used_up(one: Ready) -> TrainResult:
    return TrainResult(one.state, {}, "finished", one.wall_s, was_reached(one.score, one.run.spec.stop_at_return))


def _conclude(
    ready: Sequence[Ready], results: Sequence[TrainResult], received: str | None, stop: StopSignals
) -> list[dict[str, Any]]:
    """The summary of each run; with its evaluation, and written, once it is complete."""
    worlds = functools.cache(lambda: _worlds_of_evaluation(ready[0].run.spec, ready[0].state.env))
    each = zip(ready, results, strict=True)
    return [_concluded(one.run, result, received, stop, worlds) for one, result in each]


def _concluded(
    run: Run, result: TrainResult, received: str | None, stop: StopSignals, worlds: Callable[[], Env]
) -> dict[str, Any]:
    spec = run.spec
    last = result.metrics or next(reversed(run.metrics()), {})
    summary = {
        "run": str(run.path),
        "status": result.status if received is None else "interrupted",
        "algorithm": spec.algorithm,
        "task": spec.task,
        "iterations": result.state.iteration,
        "env_steps": result.state.env_steps,
        "wall_s": result.wall_s,
        "training_return_mean": last.get("return_mean"),
        "training_diverged": last.get("diverged", 0),
        "refused_updates": last.get("refused_updates", 0),
        **({"reached_return": result.reached} if spec.stop_at_return is not None else {}),
    }
    stopped = {"return_mean": None, "return_std": None, "episodes": 0, "seed": spec.seed, "device": spec.device}
    if summary["status"] != "finished" or _processes.rank() > 0:
        return {**summary, **stopped, "signal": received}
    try:
        stop.obey()  # one that came in the evaluation of another run
        figures = _evaluation(run, result.state, worlds(), None, None, True)
        stop.obey()
    except Interrupted as error:
        return {**summary, **stopped, "status": "interrupted", "signal": error.name}
    summary |= {**figures, "eval_seed": figures["seed"], "seed": spec.seed}
    summary |= {"env_steps": result.state.env_steps, "wall_s": result.wall_s}
    run.write_summary(summary)
    return summary


@contextlib.contextmanager
def _way_on(runs: Sequence[Run]) -> Iterator[None]:
    """Whatever ends a training early, say how to go on."""
    how = f"go on with: {resume_command(together_at([run.path for run in runs]))}"
    try:
        yield
    except LostProcessError as error:
        raise LostProcessError(f"{error}; the last checkpoint is intact: {how}") from None
    except Interrupted as error:
        found = sorted({run.last_iteration() for run in runs if run.has_checkpoint()})
        at = f"the last checkpoint is of iteration {' or '.join(map(str, found))}" if found else "no checkpoint"
        raise Interrupted(error.name, f"stopped at once; {at}: {how}") from None
    except (UsageError, RunError):
        raise
    except Exception as error:
        error.add_note(how)
        raise


def _worlds_of_evaluation(spec: RunSpec, env: Env, episodes: int | None = None) -> Env:
    """New worlds for an evaluation of so many episodes, by default those of the run's."""
    return more_worlds(spec, env, min(spec.eval_episodes if episodes is None else episodes, _MAX_EVAL_WORLDS))


def _evaluation(
    run: Run, state: Any, env: Env, episodes: int | None, seed: int | None, deterministic: bool
) -> dict[str, Any]:
    spec = run.spec
    episodes = spec.eval_episodes if episodes is None else episodes
    seed = evaluation_seed(spec.seed) if seed is None else seed
    policy = spec.build().policy(state, deterministic=deterministic, seed=seed)
    found: Evaluation = evaluate(env, policy, episodes=episodes, seed=seed)
    return {
        **found.to_json(),
        "deterministic": deterministic,
        "iteration": state.iteration,
        "env_steps": state.env_steps,
        "device": spec.device,
        "seed": seed,
    }
