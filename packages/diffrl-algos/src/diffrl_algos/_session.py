"""A run from beginning to end: folder, training, checkpoints, evaluation, summary."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from . import _processes
from ._callbacks import Checkpointer, DivergenceLog, MetricsLog
from ._checkpoint import Manifest
from ._errors import CheckpointError, LostProcessError, UsageError
from ._evaluate import Evaluation, Evaluator, evaluate
from ._loggers import TensorBoardLog, WandbLog
from ._registry import get_algorithm
from ._run import Run
from ._spec import RunSpec
from ._train import Callback, train

_MAX_EVAL_WORLDS = 1024


def start_run(
    spec: RunSpec, path: Path, *, callbacks: Sequence[Callback] = (), stop_after: int | None = None
) -> dict[str, Any]:
    """Train in a new folder, evaluate, and return the summary (see ``summary.json``).

    Started by ``torchrun``, its processes share the worlds of the run.
    """
    with _processes.started(spec.device), contextlib.ExitStack() as held:
        path = Path(_processes.same_text(str(path)))
        from ._start import started

        state, wall_s, score, before = started(spec)
        loggers = _loggers(spec, path)
        arrays = get_algorithm(spec.algorithm).build(spec.config).to_arrays(state)

        def create() -> Run:
            run = Run.create(path, spec, arrays)
            held.enter_context(run.locked())
            if spec.start is not None:  # from here on the other run is not needed
                figures = {"iteration": state.iteration, "env_steps": state.env_steps, "wall_s": wall_s}
                run.save(arrays, {**figures, "return_mean": score})
                run.take_records(before, state.iteration)
            return run

        run = _processes.lead(create) or Run.open(path)
        return _go_on(run, state, wall_s, score, [*loggers, *callbacks], stop_after)


def resume_run(path: Path, *, callbacks: Sequence[Callback] = (), stop_after: int | None = None) -> dict[str, Any]:
    """Go on with a run from its last checkpoint; a complete run gives its summary again.

    A run without a checkpoint begins again.

    Raises:
        RunError: ``path`` is no run folder, or another process is training in it.
        CheckpointError: the last checkpoint is damaged; the run is left as it was.
    """
    from ._start import started

    run = Run.open(path)
    if (summary := run.summary()) is not None:
        return summary
    with _processes.started(run.spec.device), contextlib.ExitStack() as held:
        loggers = _loggers(run.spec, path)
        _processes.lead(lambda: held.enter_context(run.locked()))
        if run.has_checkpoint():
            state, manifest = restore(run, "last", whole=True)
            iteration, wall_s, score = manifest.iteration, manifest.wall_s, manifest.return_mean
        else:
            # Killed before its first checkpoint: begin again, which gives the same bits.
            state, wall_s, score, _ = started(run.spec)
            iteration = state.iteration
        _processes.lead(lambda: run.prepare_resume(iteration))
        if run.spec.eval_every is not None:
            found = {line["iteration"]: line.get("score", line.get("return_mean")) for line in run.evaluations()}
            score = found.get(iteration)
        return _go_on(run, state, wall_s, score, [*loggers, *callbacks], stop_after)


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


def _template(spec: RunSpec) -> Any:
    """A state to load a checkpoint into, to act with. It needs neither gradients nor the memory of training.

    An algorithm may have a method ``template(env, seed)`` for it; without one its ``init`` serves.
    """
    algorithm = get_algorithm(spec.algorithm).build(spec.config)
    make = getattr(algorithm, "template", algorithm.init)
    try:
        return make(spec.make_env(), spec.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None


def begin(spec: RunSpec) -> Any:
    """The state before the first update; ``UsageError`` where the algorithm cannot learn in this environment."""
    if _processes.size() > 1 and get_algorithm(spec.algorithm).arrays != "torch":
        raise UsageError(f"{spec.algorithm} learns in one process; only algorithms in torch share their worlds out")
    env, algorithm = spec.make_env(), get_algorithm(spec.algorithm).build(spec.config)
    if _processes.size() > 1 and not getattr(algorithm, "processes", False):
        raise UsageError(
            f"{spec.algorithm} learns in one process; start it without torchrun. An algorithm of your own says that it "
            "averages its gradients over the processes by a class attribute: processes = True"
        )
    try:
        return algorithm.init(env, spec.seed)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _loggers(spec: RunSpec, path: Path) -> list[Callback]:
    """Loggers that the run asks for; ``UsageError`` where one is not installed."""
    found: list[Callback] = [TensorBoardLog(path / "tensorboard")] if spec.tensorboard else []
    return found + ([WandbLog(spec.wandb, path, spec.to_json())] if spec.wandb is not None else [])


def _evaluator(spec: RunSpec) -> Evaluator | None:
    """Evaluations on the way take other worlds than the one at the end, which they may choose the policy of."""
    if spec.eval_every is None or _processes.rank() > 0:
        return None
    env = spec.make_env(min(spec.eval_episodes, _MAX_EVAL_WORLDS))
    seed = (spec.seed + 2_000_003) % 2**31
    return Evaluator(env=env, every=spec.eval_every, episodes=spec.eval_episodes, seed=seed)


def _go_on(
    run: Run,
    state: Any,
    wall_s: float,
    score: float | None,
    callbacks: Sequence[Callback],
    stop_after: int | None,
) -> dict[str, Any]:
    spec = run.spec
    algorithm = get_algorithm(spec.algorithm).build(spec.config)
    first = _processes.rank() == 0
    mine = [Checkpointer(run, algorithm), DivergenceLog(run)]
    mine = [MetricsLog(run), *mine, *callbacks] if first else mine
    with stop_on_signals() as interrupt, _way_on(run):
        result = train(
            algorithm,
            state.env,
            spec.budget,
            mine,
            state=state,
            wall_s=wall_s,
            stop_after=stop_after,
            evaluator=_evaluator(spec),
            stop_at_return=spec.stop_at_return,
            score=score,
            interrupt=lambda: interrupt() is not None,
        )
        received = interrupt()
    last = result.metrics or next(reversed(run.metrics()), {})
    summary = {
        "run": str(run.path),
        "status": result.status,
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
    if result.status != "finished" or not first:
        stopped = {"return_mean": None, "return_std": None, "episodes": 0, "seed": spec.seed, "device": spec.device}
        return {**summary, **stopped, "signal": received}
    figures = _evaluation(run, result.state, None, None, True)
    summary |= {**figures, "eval_seed": figures["seed"], "seed": spec.seed}
    summary |= {"env_steps": result.state.env_steps, "wall_s": result.wall_s}
    run.write_summary(summary)
    return summary


@contextlib.contextmanager
def _way_on(run: Run) -> Iterator[None]:
    """Where another process was lost, say how to go on."""
    try:
        yield
    except LostProcessError as error:
        raise LostProcessError(f"{error}; the last checkpoint is intact: go on with --resume {run.path}") from None


def restore(run: Run, which: str, *, whole: bool = False) -> tuple[Any, Manifest]:
    """The state of a checkpoint, in an environment made anew; ``whole`` to go on from, else to act with."""
    arrays, manifest = run.load(which, whole=whole)
    algorithm = get_algorithm(run.spec.algorithm).build(run.spec.config)
    state = begin(run.spec) if whole else _template(run.spec)
    try:
        return algorithm.from_arrays(state, arrays), manifest
    except ValueError as error:
        raise CheckpointError(f"{run.checkpoints / which}: {error}: written for another version or run") from None


def _evaluation(run: Run, state: Any, episodes: int | None, seed: int | None, deterministic: bool) -> dict[str, Any]:
    spec = run.spec
    episodes = spec.eval_episodes if episodes is None else episodes
    seed = evaluation_seed(spec.seed) if seed is None else seed
    algorithm = get_algorithm(spec.algorithm).build(spec.config)
    policy = algorithm.policy(state, deterministic=deterministic, seed=seed)
    env = spec.make_env(min(episodes, _MAX_EVAL_WORLDS))
    found: Evaluation = evaluate(env, policy, episodes=episodes, seed=seed)
    return {
        **found.to_json(),
        "deterministic": deterministic,
        "iteration": state.iteration,
        "env_steps": state.env_steps,
        "device": spec.device,
        "seed": seed,
    }


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], str | None]]:
    """Turn Ctrl-C and SIGTERM into a request to stop after this update; a second Ctrl-C stops at once.

    Gives a function that names the signal received, or None. Outside the main thread signals are left
    alone.
    """
    received: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
