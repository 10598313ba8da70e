"""A run from beginning to end: folder, training, checkpoints, evaluation, summary."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _processes
from ._callbacks import Checkpointer, DivergenceLog, MetricsLog
from ._errors import LostProcessError, RunError, UsageError
from ._evaluate import Evaluation, Evaluator, evaluate
from ._imports import resume_command
from ._loggers import TensorBoardLog, WandbLog
from ._run import Run
from ._signals import Interrupted, StopSignals, stop_on_signals
from ._spec import RunSpec
from ._start import started
from ._states import restore
from ._train import Callback, TrainResult, train, was_reached

if TYPE_CHECKING:
    from diffsim_core import Env

_MAX_EVAL_WORLDS = 1024


def start_run(
    spec: RunSpec, path: Path, *, callbacks: Sequence[Callback] = (), stop_after: int | None = None
) -> dict[str, Any]:
    """Train in a new folder, evaluate, and return the summary (see ``summary.json``).

    Started by ``torchrun``, its processes share the worlds of the run.

    Raises:
        Interrupted: a signal came before the first update, or a second Ctrl-C during one.
    """
    with stop_on_signals() as stop, _processes.started(spec.device), contextlib.ExitStack() as held:
        path = Path(_processes.same_text(str(path)))
        state, wall_s, score, before = started(spec)
        loggers = _loggers(spec, path)
        arrays = spec.build().to_arrays(state)

        def create() -> Run:
            run = Run.create(path, spec, arrays)
            held.enter_context(run.locked())
            if spec.start is not None:
                _take_over(run, state, arrays, wall_s, score, before)
            return run

        with stop.held():
            run = _processes.lead(create) or Run.open(path)
            result, name = _learn(run, state, wall_s, score, [*loggers, *callbacks], stop_after, stop)
        return _conclude(run, result, name, stop)


def resume_run(path: Path, *, callbacks: Sequence[Callback] = (), stop_after: int | None = None) -> dict[str, Any]:
    """Go on with a run from its last checkpoint; a complete run gives its summary again.

    A run without a checkpoint begins again.

    Raises:
        RunError: ``path`` is no run folder, or another process is training in it.
        CheckpointError: the last checkpoint is damaged; the run is left as it was.
        Interrupted: as ``start_run``.
    """
    run = Run.open(path)
    if (summary := run.summary()) is not None:
        return summary
    with stop_on_signals() as stop, _processes.started(run.spec.device), contextlib.ExitStack() as held:
        loggers = _loggers(run.spec, path)
        _processes.lead(lambda: held.enter_context(run.locked()))
        if run.has_checkpoint():
            state, manifest = restore(run, "last", whole=True)
            iteration, wall_s, score = manifest.iteration, manifest.wall_s, manifest.return_mean
        else:
            # Killed before its first checkpoint: begin again, which gives the same bits.
            state, wall_s, score, before = started(run.spec)
            iteration = state.iteration
            if run.spec.start is not None:
                arrays = run.spec.build().to_arrays(state)
                _processes.lead(lambda: _take_over(run, state, arrays, wall_s, score, before))
        with stop.held():
            _processes.lead(lambda: run.prepare_resume(iteration))
            if run.spec.eval_every is not None:
                found = {line["iteration"]: line.get("score", line.get("return_mean")) for line in run.evaluations()}
                score = found.get(iteration)
            result, name = _learn(run, state, wall_s, score, [*loggers, *callbacks], stop_after, stop)
        return _conclude(run, result, name, stop)


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
    return _evaluation(run, state, episodes, seed, deterministic)


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


def _evaluator(spec: RunSpec, env: Env) -> Evaluator | None:
    """Evaluations on the way take other worlds than the one at the end, which they may choose the policy of."""
    if spec.eval_every is None or _processes.rank() > 0:
        return None
    env = more_worlds(spec, env, min(spec.eval_episodes, _MAX_EVAL_WORLDS))
    seed = (spec.seed + 2_000_003) % 2**31
    return Evaluator(env=env, every=spec.eval_every, episodes=spec.eval_episodes, seed=seed)


def _learn(
    run: Run,
    state: Any,
    wall_s: float,
    score: float | None,
    callbacks: Sequence[Callback],
    stop_after: int | None,
    stop: StopSignals,
) -> tuple[TrainResult, str | None]:
    """Train; the result, and the name of the signal that any of the processes received."""
    spec = run.spec
    algorithm = spec.build()
    mine = [Checkpointer(run, algorithm), DivergenceLog(run)]
    if _processes.rank() == 0:
        mine = [MetricsLog(run), *mine, *callbacks]
    with _way_on(run):
        if spec.budget.fraction(state.iteration, state.env_steps, wall_s) >= 1.0:
            # Cut off in the evaluation that ends it: nothing is left to train.
            result = TrainResult(state, {}, "finished", wall_s, was_reached(score, spec.stop_at_return))
        else:
            result = train(
                algorithm,
                state.env,
                spec.budget,
                mine,
                state=state,
                wall_s=wall_s,
                stop_after=stop_after,
                evaluator=_evaluator(spec, state.env),
                stop_at_return=spec.stop_at_return,
                score=score,
                interrupt=lambda: stop.received is not None,
            )
        # No process goes before all have come here: torchrun ends the others once one has failed.
        number = int(_processes.highest(0.0 if stop.received is None else signal.Signals[stop.received]))
    return result, signal.Signals(number).name if number else None


def _conclude(run: Run, result: TrainResult, received: str | None, stop: StopSignals) -> dict[str, Any]:
    """The summary of a run; with its evaluation, and written, once it is complete."""
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
        figures = _evaluation(run, result.state, None, None, True)
        stop.obey()
    except Interrupted as error:
        return {**summary, **stopped, "status": "interrupted", "signal": error.name}
    summary |= {**figures, "eval_seed": figures["seed"], "seed": spec.seed}
    summary |= {"env_steps": result.state.env_steps, "wall_s": result.wall_s}
    run.write_summary(summary)
    return summary


@contextlib.contextmanager
def _way_on(run: Run) -> Iterator[None]:
    """Whatever ends a training early, say how to go on."""
    how = f"go on with: {resume_command(run.path)}"
    try:
        yield
    except LostProcessError as error:
        raise LostProcessError(f"{error}; the last checkpoint is intact: {how}") from None
    except Interrupted as error:
        at = f"the last checkpoint is of iteration {run.last_iteration()}" if run.has_checkpoint() else "no checkpoint"
        raise Interrupted(error.name, f"stopped at once; {at}: {how}") from None
    except (UsageError, RunError):
        raise
    except Exception as error:
        error.add_note(how)
        raise


def _evaluation(run: Run, state: Any, episodes: int | None, seed: int | None, deterministic: bool) -> dict[str, Any]:
    spec = run.spec
    episodes = spec.eval_episodes if episodes is None else episodes
    seed = evaluation_seed(spec.seed) if seed is None else seed
    algorithm = spec.build()
    policy = algorithm.policy(state, deterministic=deterministic, seed=seed)
    env = more_worlds(spec, state.env, min(episodes, _MAX_EVAL_WORLDS))
    found: Evaluation = evaluate(env, policy, episodes=episodes, seed=seed)
    return {
        **found.to_json(),
        "deterministic": deterministic,
        "iteration": state.iteration,
        "env_steps": state.env_steps,
        "device": spec.device,
        "seed": seed,
    }
