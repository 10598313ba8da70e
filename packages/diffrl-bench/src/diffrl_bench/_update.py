"""``diffrl bench update``: where the time of one update goes."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._machine import machine, versions
from ._spans import Spans, replaced
from ._stopwatch import Clock, Lap, Progress, spread, unseen

PARTS = {
    "simulator_forward": "simulator, forward",
    "bridge_forward": "bridge to torch, forward",
    "task": "observation, reward and resets",
    "policy_forward": "policy in the roll-out",
    "rollout": "roll-out: loop and stacking",
    "backward_simulator": "backward: simulator",
    "backward_rest": "backward: task, policy and values",
    "critic": "critic",
    "policy_fit": "epochs of the policy",
    "optimiser": "optimisers and clipping",
}
"""The parts of every algorithm, in the order of the report, and their descriptions."""

_REST = "rest_of_"
"""Prefix of the time outside ``PARTS``; the name of a phase, which is a lap of the algorithm, stands after it."""


_OF_TASK = "task."
"""Prefix of a task's option among the fields that are compared."""


@dataclass(frozen=True, kw_only=True)
class UpdateBench:
    """Settings of the measurement."""

    algo: str = "shac"
    task: str = "ant"
    num_envs: int | None = None
    """Worlds; None for the preset's number."""
    threads: int | None = None
    """CPU threads of the simulator; None for its default."""
    device: str = "cpu"
    updates: int = 20
    """Timed updates of each kind, plain and with parts, by turns."""
    warm_up: int = 5
    """Updates before the timed ones."""
    seed: int = 0
    framework: str | None = None
    """``torch`` or ``jax``; None for the one that the algorithm was written for."""
    compare: tuple[str, ...] = ()
    """Fields of the configuration, options of the task after ``task.``, ``framework`` or ``algo``, each with as many
    values: ``critic_fit=torch,native``, ``task.fused=false,true``, ``framework=torch,jax`` or ``algo=shac,ppo``, each
    with its own preset. Updates with the first values, the second values and so on are timed by turns."""

    def __post_init__(self) -> None:
        for name, least in (("num_envs", 1), ("threads", 1), ("updates", 1), ("warm_up", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")


def bench_update(bench: UpdateBench, progress: Progress = unseen) -> dict[str, Any]:
    """Measure, and return the report of ``--json``; ``progress`` is told how many of the updates are done.

    Updates with the task's preset, or else with the algorithm's defaults, run by turns as they are and with every part
    timed. The difference is the cost of timing.

    Raises:
        ValueError: an unknown algorithm, task or device.
    """
    import diffsim_core
    from diffrl_algos import get_algorithm
    from diffrl_algos._spec import default_task_options

    from ._windows import clock_of, require_device

    began = time.perf_counter()
    facts = machine() | {"gpu": require_device(bench.device)}
    named, declared = _named(bench), diffsim_core.task_options(bench.task)
    threads: dict[str, Any] = {} if bench.threads is None else {"threads": bench.threads}
    cases = {}
    for value, (algo, preset, config, options, framework) in named.items():
        entry = get_algorithm(algo, framework or bench.framework)
        usual = default_task_options(entry, declared, bench.device)
        env = diffsim_core.make(
            bench.task,
            num_envs=bench.num_envs or preset.num_envs,
            arrays=entry.arrays,
            device=bench.device,
            **{**usual, **preset.task_options, **threads, **options},
        )
        cases[value] = Case(entry.build(config), env, bench.seed, clock_of(bench.device))
    for k in range(-bench.warm_up, bench.updates):
        progress("updates", (k + bench.warm_up) / (bench.updates + bench.warm_up))
        for case in [*cases.values()][:: 1 if k % 2 else -1]:
            case.run(counts=k >= 0)
    first, (algo, preset, *_) = next(iter(cases.values())), next(iter(named.values()))
    return {
        "benchmark": "update",
        "algo": algo,
        "task": bench.task,
        "num_envs": first.env.num_envs,
        "horizon": preset.config.horizon,
        "device": bench.device,
        "threads": getattr(_dynamics(first.env), "threads", None) if bench.device == "cpu" else None,
        "torch_threads": preset.config.torch_threads,
        "updates": bench.updates,
        **first.figures(),
        "calls": first.calls,
        "compared": compared([each.partition("=")[0] for each in bench.compare], cases) if bench.compare else None,
        "env_steps": sum(case.state.env_steps for case in cases.values()),
        "wall_s": time.perf_counter() - began,
        "machine": facts,
        "versions": versions(),
    }


class Case:
    """An algorithm with one configuration: its updates, plain and with every part timed, by turns."""

    def __init__(self, algorithm: Any, env: Any, seed: int, clock: Clock) -> None:
        self.algorithm, self.env, self.clock = algorithm, env, clock
        self.state = algorithm.init(env, seed)
        self.plain: list[Lap] = []
        self.whole: list[float] = []
        self.parts: list[dict[str, float]] = []
        self.calls: dict[str, int] = {}
        self.first: Lap | None = None
        """The first update, in which things are compiled."""

    def run(self, *, counts: bool) -> None:
        """One plain update and one with every part timed; or, if it does not count, one plain update."""
        self.state, lap = timed_update(self.algorithm, self.state, self.clock)
        self.first = self.first or lap
        if not counts:
            return
        self.plain.append(lap)
        # An update in JAX is one function of XLA, of which no part can be told from outside.
        compiled = getattr(self.env, "arrays", None) == "jax"
        spans = Spans(self.clock, _REST + "update") if compiled else Spans(self.clock)
        with instrumented(self.algorithm, self.env, spans):
            spans.begin()
            self.state, _ = self.algorithm.update(self.state)
            self.whole.append(spans.end())
        self.parts.append(spans.totals)
        self.calls = spans.calls

    def figures(self) -> dict[str, Any]:
        """Medians over the updates that count."""
        figures = update_figures([lap.wall for lap in self.plain], self.whole, self.parts)
        assert self.first is not None, "some update was run"
        first = {"wall": self.first.wall, "cpu": self.first.cpu}
        return {**figures, "update_cpu_s": spread([lap.cpu for lap in self.plain]), "first_update_s": first}


def compared(fields: Sequence[str], cases: Mapping[str, Case]) -> dict[str, Any]:
    """Figures for each value of the fields, and how many times faster its updates are than those with the first value.

    Times faster are medians, smallest and largest over the turns, each compared with the turn's update of the first.
    """
    first = next(iter(cases.values())).plain
    rows = []
    for value, case in cases.items():
        pairs = list(zip(first, case.plain, strict=True))
        rows.append(
            {
                "value": value,
                **case.figures(),
                "times_faster_cpu": spread([a.cpu / b.cpu for a, b in pairs]),
                "times_faster_wall": spread([a.wall / b.wall for a, b in pairs]),
            }
        )
    return {"fields": list(fields), "values": rows}


def _named(bench: UpdateBench) -> dict[str, tuple[str, Any, Any, dict[str, Any], str | None]]:
    """Algorithm, preset, and what ``_configs`` gives, of each case."""
    from diffrl_algos import default_preset

    of_algorithms = [each for each in bench.compare if each.startswith("algo=")]
    if not of_algorithms:
        preset = default_preset(bench.algo, bench.task)
        configs = _configs(preset.config, bench.compare, bench.task)
        return {value: (bench.algo, preset, *rest) for value, rest in configs.items()}
    if len(bench.compare) > 1:
        raise ValueError(f"compare is {' '.join(bench.compare)!r}; algorithms are compared alone, with their presets")
    names = of_algorithms[0].partition("=")[2].split(",")
    if len({*names}) < max(len(names), 2):
        raise ValueError(f"compare is {of_algorithms[0]!r}; expected several algorithms, such as algo=shac,ppo")
    presets = {name: default_preset(name, bench.task) for name in names}
    return {name: (name, preset, preset.config, {}, None) for name, preset in presets.items()}


def _configs(config: Any, compare: Sequence[str], task: str) -> dict[str, tuple[Any, dict[str, Any], str | None]]:
    """Configuration, options of the task and framework, under an empty name or under the text of compared values."""
    from diffrl_algos._fields import parse, replace
    from diffsim_core import task_options

    if not compare:
        return {"": (config, {}, None)}
    texts: dict[str, list[str]] = {}
    for each in compare:
        field, _, values = each.partition("=")
        texts[field] = values.split(",")
        if len(texts[field]) < 2:
            raise ValueError(
                f"compare is {each!r}; expected a field and several values, such as critic_fit=torch,native"
            )
    counts = {field: len(values) for field, values in texts.items()}
    if len({*counts.values()}) > 1:
        raise ValueError(f"compare has {counts}; every field needs as many values as the others")
    configs = {}
    for values in zip(*texts.values(), strict=True):
        changes: dict[str, Any] = {}
        options: dict[str, Any] = {}
        framework = None
        for field, text in zip(texts, values, strict=True):
            if field == "framework":
                framework = text
                continue
            of_task, name = field.startswith(_OF_TASK), field.removeprefix(_OF_TASK)
            if of_task:
                options[name] = task_options(task)[name].read(text, f"task {task!r}")
            else:
                changes[name] = parse(type(config), name, text)
        configs[",".join(dict.fromkeys(values))] = replace(config, changes), options, framework
    if len(configs) < next(iter(counts.values())):
        raise ValueError(f"compare is {' '.join(compare)!r}; the values must differ")
    return configs


def timed_update(algorithm: Any, state: Any, clock: Clock) -> tuple[Any, Lap]:
    """The next state, and the wall and processor time of the update."""
    before = clock.read()
    state, _ = algorithm.update(state)
    after = clock.read()
    return state, Lap(after.wall - before.wall, after.cpu - before.cpu)


def update_figures(plain: list[float], whole: list[float], parts: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over updates; a part that an update does not have counts as zero."""
    names = [*PARTS, *dict.fromkeys(name for part in parts for name in part if name not in PARTS)]
    medians = {name: statistics.median(part.get(name, 0.0) for part in parts) for name in names}
    return {
        "update_s": spread(plain),
        "timed_update_s": spread(whole),
        "parts_s": medians,
        "parts_sum_s": sum(medians.values()),
    }


def part_name(label: str) -> str:
    """Description of a part."""
    return PARTS.get(label) or f"rest of the phase {label.removeprefix(_REST)!r}"


def instrumented(algorithm: Any, env: Any, spans: Spans) -> contextlib.AbstractContextManager[None]:
    """Time the parts of an update while the context is open.

    It works with every algorithm: simulator and task are timed through the protocol, backward passes in torch's own
    functions, and the shared parts (``rollout``, ``begin_fit`` and the end of the fit, ``fit_policy_`` and PPO's
    ``epoch``) where the algorithm's module calls them. The remaining time goes to the phases into which the algorithm
    itself divides its update. What runs in other threads is not a part: of a fit on another core, the time counts for
    which the update waits.
    """
    from torch import autograd

    from diffrl_algos.torch import _account, _adam, _learner, _off_policy, _window
    from diffsim_core._traced import Recording

    def part(label: str) -> Callable[[Any], Any]:
        return lambda original: spans.wrap(label, original)

    def rollout(original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(worlds: Any, policy: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return original(worlds, spans.wrap("policy_forward", policy), *args, **kwargs)

        return spans.wrap("rollout", timed)

    def fit(original: Callable[..., Any]) -> Callable[..., Any]:
        begin = spans.wrap("critic", original)
        return lambda *args, **kwargs: spans.wrap("critic", begin(*args, **kwargs))

    def lap(original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(clock: Any, name: str) -> None:
            spans.settle(_REST + name.removesuffix("_s"))
            original(clock, name)

        return timed

    module, dynamics = sys.modules[type(algorithm).__module__], _dynamics(env)
    everywhere = [
        (env, "step", part("task")),
        (Recording, "_step", part("task")),
        (Recording, "rollout", rollout),
        (autograd, "grad", part("backward_rest")),
        (autograd, "backward", part("backward_rest")),
        (_adam.Optimizer, "step_", part("optimiser")),
        (_account.Clock, "lap", lap),
        (_window, "rollout", rollout),
        (_off_policy, "rollout", rollout),
        (_learner, "begin_fit", fit),
        (_off_policy.QFunctions, "fit", part("critic")),
    ]
    where_there = [
        (dynamics, "step", part("simulator_forward")),
        (dynamics, "vjp", part("backward_simulator")),
        (env, "dynamics_step", part("bridge_forward")),
        (module, "rollout", rollout),
        (type(algorithm), "epoch", part("policy_fit")),
        (module, "fit_policy_", part("policy_fit")),
    ]
    return replaced(*everywhere, *(change for change in where_there if hasattr(*change[:2])))


def _dynamics(env: Any) -> Any:
    """The simulator of an environment, or None if it does not show one."""
    return getattr(getattr(env, "task", None), "dynamics", None)
