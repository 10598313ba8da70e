"""The training loop: budgets, callbacks and when to stop. It knows nothing of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from annotated_types import Interval, Unit

from diffsim_core.options import Count

from . import _processes
from ._config import Steps
from ._errors import UsageError
from ._fields import checked
from ._together import Clock, Training, train_together

if TYPE_CHECKING:
    from diffsim_core import Env

    from ._algorithm import Algorithm
    from ._evaluate import Evaluation, Evaluator

Status = Literal["finished", "stopped", "interrupted", "failed"]
"""``stopped``: by ``stop_after``; ``interrupted``: by the ``interrupt`` function, for instance Ctrl-C; ``failed``: by
an exception, which ``train`` raises again."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The end of a run, given by exactly one of the three fields."""

    title: ClassVar[str] = "the budget"

    iterations: Count | None = None
    """Updates."""
    env_steps: Steps | None = None
    """Control steps, summed over worlds; the update that reaches them is the last."""
    seconds: Annotated[Annotated[float, Interval(gt=0)] | None, Unit("s")] = None
    """Wall-clock time of training, including the earlier parts of a resumed run; inf: until it is stopped."""

    def __post_init__(self) -> None:
        for name, value in checked(Budget, vars(self)).items():
            object.__setattr__(self, name, value)
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise UsageError(f"a budget is one of iterations, env_steps and seconds; given: {given or 'none'}")

    def fraction(self, iteration: int, env_steps: int, wall_s: float) -> float:
        """Used part of the budget; the run is complete at 1."""
        if self.iterations is not None:
            return iteration / self.iterations
        if self.env_steps is not None:
            return env_steps / self.env_steps
        assert self.seconds is not None
        return wall_s / self.seconds

    def require_rest(self, owner: str, iteration: int, env_steps: int, wall_s: float) -> None:
        """Raise ``UsageError``, which names the ``owner`` of these updates, if nothing of the budget is left."""
        if self.fraction(iteration, env_steps, wall_s) >= 1.0:
            raise UsageError(
                f"{owner} has {iteration} updates, {env_steps} steps and {wall_s:.0f} s behind it already; a budget "
                "counts from the beginning and must be larger"
            )


class Update(NamedTuple):
    """The argument of a callback after an update."""

    state: Any
    """The algorithm's ``TrainState``."""
    metrics: dict[str, Any]
    """``iteration``, ``env_steps``, ``wall_s``, ``return_mean`` and the algorithm's other metrics, ready for JSON."""
    divergences: list[Any]
    """Records of worlds that diverged in this update (``diffsim_core.Divergence``)."""
    fraction: float
    """Used part of the budget."""
    evaluation: Evaluation | None = None
    """The evaluation after this update, if any."""


class Callback:
    """Actions during training: progress, logs, checkpoints. Override the methods that you need."""

    record: int = 0
    """Number of worlds that this callback needs in ``update.evaluation.recording``."""

    def on_start(self, state: Any, fraction: float) -> None:
        """Before the first update of this call of ``train``."""

    def on_evaluation(self, update: Update) -> None:
        """After every evaluation, before the ``on_update`` of the same update; ``update.evaluation`` is not None."""

    def on_update(self, update: Update) -> None:
        """After every update."""

    def on_stop(self, update: Update | None, status: Status) -> None:
        """After the last update; ``update`` is None if there was no update.

        Where training failed, ``update`` is the last one that every callback has seen, so that its work can be saved.
        """


class TrainResult(NamedTuple):
    """The end of a call of ``train``."""

    state: Any
    metrics: dict[str, Any]
    """Metrics of the last update; empty if there was no update."""
    status: Status
    wall_s: float
    """Training time [s], including earlier parts of the run, without evaluations."""
    reached: bool = False
    """Whether it ended because the return reached ``stop_at_return``."""


def train(
    algorithm: Algorithm,
    env: Env,
    budget: Budget | None = None,
    callbacks: Sequence[Callback] = (),
    *,
    seed: int = 0,
    state: Any = None,
    wall_s: float = 0.0,
    stop_after: int | None = None,
    evaluator: Evaluator | None = None,
    stop_at_return: float | None = None,
    score: float | None = None,
    interrupt: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Update until the budget is used up.

    Args:
        algorithm: for instance ``diffrl_algos.torch.SHAC(config)``.
        env: the worlds to learn in. With ``state`` they may be others than it has, which makes a curriculum: what was
            learned, the schedules and the counters go on, and new episodes begin. To go on with the same bits, give
            ``state.env``.
        budget: by default the algorithm's own ``config.iterations``. Learning-rate schedules end at
            ``config.iterations`` whatever the budget: set both to shorten a run.
        callbacks: called in order after every update.
        seed: names all random numbers of the run; with ``state`` those of other worlds.
        state: state to go on from, instead of ``algorithm.init(env, seed)``. The budget counts its updates and steps
            too, so it must be larger than what they have used.
        wall_s: training time so far of ``state`` [s].
        stop_after: stop after so many updates of this call; the budget does not change.
        evaluator: evaluates the deterministic policy every ``evaluator.every`` updates and at the end of the budget.
        stop_at_return: training is finished once the mean return is at least this: of an evaluation, or, without
            ``evaluator``, of the last finished training episodes.
        score: the last mean return of ``state``, if known.
        interrupt: called before every update; True stops training.

    Raises:
        UsageError: an argument makes no sense, the budget is used up already, or what was learned does not fit into
            other worlds.
        BaseException: whatever an update, the environment or a callback raises, after ``on_stop`` of every callback.
    """
    training = begin_training(
        algorithm,
        env,
        budget,
        callbacks,
        seed=seed,
        state=state,
        wall_s=wall_s,
        stop_after=stop_after,
        evaluator=evaluator,
        stop_at_return=stop_at_return,
        score=score,
    )
    (result,) = train_together([training], lambda states: [algorithm.update(state) for state in states], interrupt)
    return result


def begin_training(
    algorithm: Algorithm,
    env: Env,
    budget: Budget | None = None,
    callbacks: Sequence[Callback] = (),
    *,
    seed: int = 0,
    state: Any = None,
    wall_s: float = 0.0,
    stop_after: int | None = None,
    evaluator: Evaluator | None = None,
    stop_at_return: float | None = None,
    score: float | None = None,
    clock: Clock | None = None,
) -> Training:
    """``train``, except for the updates, which ``train_together`` has computed, and asks for interrupts before.

    ``clock`` is one for all trainings that go on together.
    """
    if stop_after is not None and stop_after < 1:
        raise UsageError(f"stop_after is {stop_after}; expected at least 1")
    budget = budget or Budget(iterations=algorithm.config.iterations)
    reached = was_reached(score, stop_at_return)
    state = algorithm.init(env, seed) if state is None else _in_worlds(algorithm, state, env, seed)
    if not reached:
        budget.require_rest("the state", state.iteration, state.env_steps, wall_s)
    clock = clock or Clock()
    start = clock.now() - wall_s
    fraction = budget.fraction(state.iteration, state.env_steps, wall_s)
    record = max((callback.record for callback in callbacks), default=0)
    first, update, status = state.iteration, None, "finished"
    started: list[Callback] = []
    seen: Update | None = None
    try:
        for callback in callbacks:
            callback.on_start(state, fraction)
            started.append(callback)
        while fraction < 1.0 and not reached:
            if stop_after is not None and state.iteration - first >= stop_after:
                status = "stopped"
                break
            updated = yield state
            if updated is None:
                status = "interrupted"
                break
            state, metrics = updated
            wall_s = clock.now() - start
            score, evaluation = metrics["return_mean"], None
            if evaluator is not None:
                fraction = budget.fraction(state.iteration, state.env_steps, wall_s)
                due = state.iteration % evaluator.every == 0 or fraction >= 1.0
                evaluation = evaluator(algorithm.policy(state), record) if due else None
                score = evaluation.score if evaluation is not None else None
                clock.left_out += evaluation.seconds if evaluation is not None else 0.0
            wall_s, score = _processes.agree(wall_s, score)
            fraction = budget.fraction(state.iteration, state.env_steps, wall_s)
            metrics = {"iteration": state.iteration, "env_steps": state.env_steps, "wall_s": wall_s, **metrics}
            update = Update(state, metrics, metrics.pop("divergences", []), fraction, evaluation)
            for callback in callbacks if evaluation is not None else ():
                callback.on_evaluation(update)
            for callback in callbacks:
                callback.on_update(update)
            seen = update
            reached = was_reached(score, stop_at_return)
        for callback in callbacks:
            callback.on_stop(update, status)
            started.remove(callback)
    except BaseException as error:
        _give_up(started, seen, error)
        raise
    return TrainResult(state, update.metrics if update else {}, status, wall_s, reached)


def _give_up(callbacks: Sequence[Callback], update: Update | None, error: BaseException) -> None:
    """Let every callback save and close what it can. What else fails on the way is noted in ``error``."""
    for callback in callbacks:
        try:
            callback.on_stop(update, "failed")
        except Exception as other:
            error.add_note(f"then {type(callback).__name__} failed: {other}")


def _in_worlds(algorithm: Algorithm, state: Any, env: Env, seed: int) -> Any:
    """``state`` itself if its worlds are ``env``, else what it has learned, in ``env``."""
    if env is state.env:
        return state
    carry = getattr(algorithm, "carry", None)
    if carry is None:
        raise UsageError(
            f"env is not state.env, and {algorithm.name} has no method carry(state, env, seed) that brings a state "
            "into other worlds; pass state.env to go on where it was"
        )
    try:
        return carry(state, env, seed)
    except ValueError as error:
        raise UsageError(f"{algorithm.name} cannot go on in these worlds: {error}") from None


def was_reached(score: float | None, target: float | None) -> bool:
    """Whether a mean return is known, and at least the one that ends training."""
    return score is not None and target is not None and score >= target
