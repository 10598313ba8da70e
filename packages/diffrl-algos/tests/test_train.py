"""The loop: budgets, callbacks, stopping, and that it needs nothing but the algorithm's three functions."""

from __future__ import annotations

import io
import os
import signal
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from diffrl_algos import Budget, Callback, Evaluator, SHACConfig, UsageError, train
from diffrl_algos._callbacks import ProgressLine
from diffrl_algos._signals import stop_on_signals


class State(NamedTuple):
    iteration: int
    env_steps: int
    seed: int
    env: Any = None


@dataclass
class Counting:
    """An algorithm without arrays or gradients."""

    config: SHACConfig
    name: str = "counting"

    def init(self, env, seed):
        return State(0, 0, seed, env)

    def update(self, state):
        state = state._replace(iteration=state.iteration + 1, env_steps=state.env_steps + 10)
        return state, {"return_mean": -1.0 / state.iteration, "divergences": [state.iteration]}

    def policy(self, state, *, deterministic=True, seed=0):
        assert deterministic
        # Slower each time, so that returns rise.
        return lambda obs: torch.full((len(obs), 1), 0.5 / state.iteration)


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def on_start(self, state, fraction):
        self.events.append(("start", state.iteration, fraction))

    def on_update(self, update):
        self.events.append((update.metrics["iteration"], update.fraction, update.divergences))

    def on_stop(self, update, status):
        self.events.append(("stop", update and update.metrics["iteration"], status))


ALGORITHM = Counting(SHACConfig(iterations=4))


def test_default_budget_is_the_configuration(worlds):
    recorder = Recorder()
    result = train(ALGORITHM, worlds(), callbacks=[recorder], seed=7)
    assert result.state._replace(env=None) == State(4, 40, 7) and result.status == "finished"
    assert recorder.events == [
        ("start", 0, 0.0),
        *((k, k / 4, [k]) for k in (1, 2, 3, 4)),
        ("stop", 4, "finished"),
    ]
    assert result.metrics["iteration"] == 4 and result.metrics["env_steps"] == 40
    assert result.metrics["return_mean"] == -0.25 and "divergences" not in result.metrics
    assert result.wall_s == result.metrics["wall_s"] > 0


def test_budgets(worlds):
    assert train(ALGORITHM, worlds(), Budget(iterations=2)).state.iteration == 2
    assert train(ALGORITHM, worlds(), Budget(env_steps=25)).state.env_steps == 30


@pytest.mark.parametrize("budget", [Budget(iterations=4), Budget(iterations=3), Budget(env_steps=40), None])
def test_a_budget_that_is_used_up_is_refused(worlds, budget):
    """It counts from the beginning, so that of a later stage includes the earlier ones; time too."""
    state = train(ALGORITHM, worlds()).state
    said = "the state has 4 updates, 40 steps and 7 s behind it already; a budget counts from the beginning"
    with pytest.raises(UsageError, match=said):
        train(ALGORITHM, state.env, budget, state=state, wall_s=7.0)
    with pytest.raises(UsageError, match=said):
        train(ALGORITHM, state.env, Budget(seconds=7.0), state=state, wall_s=7.0)
    assert train(ALGORITHM, state.env, Budget(iterations=5), state=state).state.iteration == 5


class Clock:
    """Stands for the module ``time``: it moves by ``tick`` seconds at each look, and when told to."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 100.0, tick

    def perf_counter(self):
        self.now += self.tick
        return self.now


def test_a_budget_in_seconds_ends_with_the_first_update_beyond_it(worlds, monkeypatch):
    monkeypatch.setattr("diffrl_algos._together.time", Clock(tick=0.5))
    result = train(ALGORITHM, worlds(), Budget(seconds=2.75))
    assert result.status == "finished" and result.state.iteration == 6 and result.wall_s == 3.0


@pytest.mark.parametrize("given", [{}, {"iterations": 1, "seconds": 2.0}, {"iterations": 0}, {"seconds": -1.0}])
def test_budgets_that_make_no_sense(given):
    with pytest.raises(UsageError):
        Budget(**given)


def test_stop_after_keeps_the_budget(worlds):
    first = train(ALGORITHM, worlds(), stop_after=3)
    assert first.status == "stopped" and first.state.iteration == 3
    rest = train(ALGORITHM, first.state.env, state=first.state, wall_s=first.wall_s, stop_after=3)
    assert rest.status == "finished" and rest.state.iteration == 4 and rest.wall_s > first.wall_s
    with pytest.raises(UsageError, match="stop_after is 0"):
        train(ALGORITHM, worlds(), stop_after=0)


def test_signals_stop_after_the_update(worlds):
    class Kill(Callback):
        def on_update(self, update):
            if update.metrics["iteration"] == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop, stop.held():
        result = train(ALGORITHM, worlds(), callbacks=[Kill()], interrupt=lambda: stop.received is not None)
        assert stop.received == "SIGTERM"
    assert result.status == "interrupted" and result.state.iteration == 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop, stop.held():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_progress_line_says_where_we_are(worlds):
    out = io.StringIO()
    config = replace(ALGORITHM.config, iterations=1200)
    train(Counting(config), worlds(), callbacks=[ProgressLine(out)], stop_after=600)
    last = out.getvalue().splitlines()[-1]
    for part in ("iteration 600", "50%", "6,000 steps", "steps/s", "return -0.0", "0:00:0", "left"):
        assert part in last
    assert "diverged" not in last and "\x1b" not in out.getvalue()


def test_progress_line_is_redrawn_on_a_terminal(worlds):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    train(ALGORITHM, worlds(), callbacks=[ProgressLine(out)])
    assert out.getvalue().startswith("\r\x1b[2K") and out.getvalue().endswith("\n")


class Watcher(Callback):
    """Notes the order of events, and what evaluations found."""

    def __init__(self, record=0):
        self.record, self.events, self.found = record, [], []

    def on_evaluation(self, update):
        self.events.append(("evaluation", update.metrics["iteration"]))
        self.found.append(update.evaluation)

    def on_update(self, update):
        self.events.append(("update", update.metrics["iteration"]))
        assert (update.evaluation is not None) == (self.events[-2:-1] == [("evaluation", update.metrics["iteration"])])


def test_evaluations_come_every_so_often_and_at_the_end(worlds):
    watcher = Watcher()
    evaluator = Evaluator(env=worlds(num_envs=4, limit=9.0), every=3, episodes=4)
    train(ALGORITHM, worlds(), callbacks=[watcher], evaluator=evaluator)
    kinds = [("update", 1), ("update", 2), ("evaluation", 3), ("update", 3), ("evaluation", 4), ("update", 4)]
    assert watcher.events == kinds
    assert all(found.recording is None and len(found.returns) == 4 for found in watcher.found)
    # The same episodes each time.
    again = evaluator(ALGORITHM.policy(State(3, 0, 0)))
    assert np.array_equal(again.returns, watcher.found[0].returns)
    assert not np.array_equal(again.returns, watcher.found[1].returns)


def test_evaluations_are_not_training_time(worlds, monkeypatch):
    clock = Clock()
    for module in ("_together", "_evaluate"):
        monkeypatch.setattr(f"diffrl_algos.{module}.time", clock)

    class Slow(Counting):
        def policy(self, state, *, deterministic=True, seed=0):
            def act(obs):
                clock.now += 60
                return torch.zeros(len(obs), 1)

            return act

        def update(self, state):
            clock.now += 1
            return super().update(state)

    evaluator = Evaluator(env=worlds(num_envs=1, limit=9.0), every=1, episodes=1)
    result = train(Slow(SHACConfig(iterations=2)), worlds(), evaluator=evaluator)
    assert result.wall_s == 2.0 and clock.now > 100 + 2 * 60


def test_worlds_are_recorded_for_those_who_ask(worlds):
    watcher = Watcher(record=2)
    env = worlds(num_envs=4, limit=9.0)
    train(
        ALGORITHM,
        worlds(),
        Budget(iterations=1),
        [Watcher(), watcher],
        evaluator=Evaluator(env=env, every=1, episodes=4),
    )
    recording = watcher.found[0].recording
    assert recording.action.shape == (5, 2, 1) and recording.physics.x.shape == (5, 2, 1)


def test_a_return_that_is_reached_ends_training(worlds):
    result = train(ALGORITHM, worlds(), stop_at_return=-0.5)
    assert (result.state.iteration, result.status, result.reached) == (2, "finished", True)
    # One that was reached before needs no update; one that was not, some.
    assert train(ALGORITHM, result.state.env, state=result.state, score=-0.5, stop_at_return=-0.5).metrics == {}
    further = train(ALGORITHM, result.state.env, state=result.state, score=-0.5, stop_at_return=-0.3)
    assert further.state.iteration == 4 and further.reached
    missed = train(ALGORITHM, worlds(), stop_at_return=0.0)
    assert missed.state.iteration == 4 and missed.status == "finished" and not missed.reached


def test_the_return_that_counts_is_that_of_evaluations(worlds):
    env = worlds(num_envs=2, limit=9.0)
    evaluator = Evaluator(env=env, every=2, episodes=2)
    target = evaluator(ALGORITHM.policy(State(2, 0, 0))).return_mean
    result = train(ALGORITHM, worlds(), stop_at_return=target, evaluator=evaluator)
    assert result.state.iteration == 2 and result.reached and result.metrics["return_mean"] == -0.5


@pytest.mark.parametrize("wrong", [{"every": 0}, {"episodes": 0}])
def test_evaluators_that_make_no_sense(worlds, wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is 0"):
        Evaluator(**{"env": worlds(), "every": 1, **wrong})


def test_progress_tells_of_evaluations(worlds):
    out = io.StringIO()
    evaluator = Evaluator(env=worlds(num_envs=2, limit=9.0), every=4, episodes=3)
    train(ALGORITHM, worlds(), callbacks=[ProgressLine(out)], evaluator=evaluator)
    assert "evaluation at iteration 4: return " in out.getvalue() and "over 3 episodes" in out.getvalue()
