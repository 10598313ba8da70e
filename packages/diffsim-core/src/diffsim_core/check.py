"""The conformance kit: run it on your own environment before you train on it.

``check_env`` tests the promises of the protocol. ``check_gradients`` compares the gradients of a few steps with central
differences. ``check_rollout`` finds the horizon up to which gradients can be trusted. ``check_task`` runs all three for
a task made by name, compares steps in one operation with separate ones, and ``diffrl check`` prints its report.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from diffsim_core import _check_env
from diffsim_core._check_env import CheckError as CheckError
from diffsim_core._check_env import Subject
from diffsim_core._check_fused import FusedReport, check_fused
from diffsim_core._check_gradients import TOLERANCE
from diffsim_core._check_gradients import GradientReport as GradientReport
from diffsim_core._check_gradients import SwitchingError as SwitchingError
from diffsim_core._check_gradients import check_gradients as check_gradients
from diffsim_core._check_probes import Progress
from diffsim_core._check_rollout import RolloutReport as RolloutReport
from diffsim_core._check_rollout import check_rollout as check_rollout
from diffsim_core._env import TaskEnv
from diffsim_core._protocol import Env
from diffsim_core._raised import one_line as one_line
from diffsim_core._raised import raised as raised
from diffsim_core._raised import tried
from diffsim_core._tree import tree_leaves


def check_env(env: Env, *, fewer: Env | None = None, seed: int = 0, num_steps: int = 12) -> list[str]:
    """Test every promise an environment makes.

    Args:
        env: at least two worlds, because the checks test their independence.
        fewer: the same environment with fewer worlds, to test that world i does not depend on N.
        seed: seed of ``reset`` and of the random actions.
        num_steps: steps to run in each test.

    Returns:
        The promises that were tested.

    Raises:
        CheckError: with every promise that was broken.
        ValueError: if ``env`` has one world, or ``fewer`` does not have fewer worlds.
    """
    if env.num_envs < 2:
        raise ValueError(f"env has {env.num_envs} world; make it with at least 2, to test that worlds are independent")
    if fewer is not None and fewer.num_envs >= env.num_envs:
        raise ValueError(f"fewer has {fewer.num_envs} worlds, env {env.num_envs}; it must have fewer")
    name = getattr(getattr(env, "spec", None), "name", type(env).__name__)
    try:
        subject = Subject(env, seed, num_steps)
    except Exception as error:  # whatever somebody's environment raises is the finding
        raise CheckError(name, [f"reset({seed}) ends in {raised(error)}"]) from error
    # the other checks index arrays by world, so they need right shapes
    if violations := tried(_check_env.shapes, subject):
        raise CheckError(name, violations)
    checks: list[Callable[..., Any]] = [
        _check_env.determinism,
        _check_env.bookkeeping,
        _check_env.clipping,
        _check_env.independence,
        _check_env.containment,
    ]
    if env.spec.differentiable:
        checks.append(_check_env.gradients)
    for check in checks:
        violations += tried(check, subject)
    if fewer is not None:
        checks.append(_check_env.number_of_worlds)
        violations += tried(_check_env.number_of_worlds, subject, fewer)
    if violations:
        raise CheckError(name, violations)
    return [(check.__doc__ or "").strip() for check in (_check_env.shapes, *checks)]


@dataclass(frozen=True)
class TaskReport:
    """Results of all checks of one task."""

    task: str
    violations: list[str]
    """Broken promises, checks that ended in an error, and points without a derivative; empty if all is well."""
    deterministic: bool | None
    """Whether the same seed and actions give the same bits; None where an error kept that from being tested."""
    start: GradientReport | None
    """Of a step from the first states of episodes, where soft bodies are undeformed and round numbers are common; None
    if all worlds are at a switch there, or the check ended in an error, which ``violations`` then has."""
    gradients: GradientReport | None
    """Of a step after 40 steps of random actions; None if the check ended in an error."""
    rollout: RolloutReport | None
    """None if the check ended in an error, which ``violations`` then has."""
    fused: bool | None = None
    """Whether steps can be one operation each, see ``TaskEnv``; None where they never are, or an error ended this."""
    not_fused: str = ""
    """Why they cannot."""

    @property
    def ok(self) -> bool:
        """No violation, and gradients of one step within 1e-6 of central differences, in both states."""
        steps = [self.gradients] if self.start is None else [self.start, self.gradients]
        return not self.violations and all(step is not None and step.max_rel_error <= TOLERANCE for step in steps)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for ``diffrl check --json``; None for those that a check did not give."""
        absent = dict.fromkeys(("max_rel_error", "rel_error", "worlds", "switching"))
        rollout = [field.name for field in fields(RolloutReport) if field.name != "not_finite"]
        return {
            "task": self.task,
            "ok": self.ok,
            "violations": self.violations,
            "deterministic": self.deterministic,
            "start": None if self.start is None else _known(self.start),
            **absent,
            **({} if self.gradients is None else _known(self.gradients)),
            **{name: getattr(self.rollout, name, None) for name in rollout},
            "fused": self.fused,
            "not_fused": self.not_fused,
        }


def _known(report: GradientReport) -> dict[str, Any]:
    return {key: value for key, value in asdict(report).items() if value is not None and key != "faults"}


def check_task(
    make: Callable[..., Env],
    *,
    num_envs: int | None = None,
    seed: int = 0,
    horizon: int | None = None,
    rollout_envs: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> TaskReport:
    """Run every check. Gradients of a rigid-body task include those w.r.t. every kind of parameter that its model has.

    An error that ends a check is a line of the report.

    Args:
        make: ``make(num_envs=, dtype=) -> Env``, for instance ``functools.partial(diffsim_core.make, "ant")``.
        num_envs: number of worlds for the checks of promises and of single steps; by default that of
            :func:`check_size`.
        seed: seed of initial states and random actions.
        horizon: longest window of ``check_rollout`` [control steps]; by default that of :func:`check_size`.
        rollout_envs: number of worlds for ``check_rollout``; by default as many as ``num_envs``, but at most 8.
        progress: called with the name of a check and the part of it that is done, from 0 to 1.
    """
    if num_envs is None or horizon is None:
        most, longest = check_size(make)
        num_envs, horizon = most if num_envs is None else num_envs, longest if horizon is None else horizon

    def told(check: str) -> Progress | None:
        return progress and functools.partial(progress, check)

    if progress:
        progress(CHECKS[0], 0.0)
    env = make(num_envs=num_envs, dtype="float32")
    violations: list[str] = []

    def attempt(function: Callable[[], Any]) -> Any:
        try:
            return function()
        except CheckError as error:
            violations.extend(error.violations)
        except Exception as error:  # whatever somebody's task raises is the finding
            text = raised(error)
            if not any(text in violation for violation in violations):
                violations.append(text)
        return None

    attempt(lambda: check_env(env, fewer=make(num_envs=max(1, num_envs // 4), dtype="float32"), seed=seed))
    different = attempt(lambda: list(_check_env.determinism(Subject(env, seed, 12))))
    exact = attempt(lambda: _with_parameters(make(num_envs=num_envs, dtype="float64")))
    start = gradients = None
    if exact is not None:
        start = attempt(lambda: _at_start(exact, seed, told(CHECKS[1])))
        gradients = attempt(lambda: check_gradients(exact, seed=seed, progress=told(CHECKS[2])))
    rollout = attempt(
        lambda: check_rollout(
            make,
            num_envs=min(8, num_envs) if rollout_envs is None else rollout_envs,
            horizon=horizon,
            seed=seed,
            progress=told(CHECKS[3]),
        )
    )
    fused: FusedReport | None = attempt(lambda: check_fused(make, num_envs=num_envs, seed=seed))
    if fused is not None:
        violations += fused.violations
    for report in (start, gradients):
        violations += report.faults if report is not None else ()
    violations += rollout.not_finite if rollout is not None else ()
    same = None if different is None else not different
    found = fused or FusedReport(None, "", [])
    broken = list(dict.fromkeys(violations))
    return TaskReport(env.spec.name, broken, same, start, gradients, rollout, found.fused, found.because)


CHECKS = ("promises", "gradients at the start", "gradients later on", "gradients of rollouts")
"""Names that ``progress`` of :func:`check_task` is called with, in their order."""


def _at_start(env: Env, seed: int, progress: Progress | None) -> GradientReport | None:
    try:
        return check_gradients(env, warmup=0, seed=seed, progress=progress)
    except SwitchingError:
        return None


def check_size(make: Callable[..., Env]) -> tuple[int, int]:
    """Worlds and longest window [control steps] that :func:`check_task` takes by default.

    They are 64 and 64 where a world's physics state has up to 128 numbers. The worlds shrink from 2,048 numbers on, to
    4, and the window from 128 numbers on, to 8, because the cost grows with the numbers, the worlds and the square of
    the window.
    """
    try:
        physics = make(num_envs=2, dtype="float32").reset(0)[0].physics
    except Exception:  # the checks name what is wrong
        return 64, 64
    numbers = sum(math.prod(leaf.shape[1:]) for _, leaf in tree_leaves(physics))
    return min(64, max(4, 2**17 // numbers)), min(64, max(8, 2**13 // numbers))


def _with_parameters(env: Env) -> Env:
    """The environment with all model parameters as inputs, drawn within 10 % of their values; or ``env`` itself."""
    task: Any = getattr(env, "task", None)
    dynamics: Any = getattr(task, "dynamics", None)
    if not isinstance(env, TaskEnv) or not hasattr(dynamics, "with_parameters") or dynamics.parameters:
        return env
    from diffsim_core.tasks._randomised import Randomised

    parameters = dynamics.with_parameters(dynamics.parameters.kinds()).parameters
    ranges = {kind: (0.9, 1.1) for kind, group in parameters.groups.items() if parameters.nominal[list(group)].any()}
    randomised: Any = Randomised(task, ranges)
    return TaskEnv(randomised, env.num_envs, arrays=env.arrays, device=env.device, dtype=env.dtype)
