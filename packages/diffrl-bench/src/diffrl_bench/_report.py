"""The reports of ``diffrl bench`` as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._machine import describe
from ._text import count, rounded, table
from ._update import part_name

_HEAD = ("", "control steps/s", "slowest to fastest repeat", "sub-steps/s", "simulated s/s", "busy cores")


def sim_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench sim`` without ``--json``."""
    steps = report["num_envs"] * report["horizon"]
    title = (
        f"{report['task']}: {count(report['num_envs'], 'world')}, windows of {report['horizon']} control steps of "
        f"{1e3 * report['dt_s']:.1f} ms ({report['substeps']} sub-steps each), "
        f"{_threads(report)}{report['dtype']}, {report['device']}"
    )
    rows = [*_rows("dynamics", report, steps), *_rows("environment", report["env"], steps)]
    rows += [_peer_row(peer, steps) for peer in report["peers"]]
    lines = [
        title,
        f"{describe(report['machine'])}; load {rounded(report['machine']['load_before'])} before the run",
        "",
        table(_HEAD, rows),
        "",
        _ratios("dynamics", report),
        _ratios("environment", report["env"]),
        _memory(report["memory"]),
        _moved(report["memory_traffic"]),
    ]
    if report["diverged"]:
        lines.append(f"{count(report['diverged'], 'world step')} diverged and was contained; the numbers include them")
    if (scaling := report["scaling"]) is not None:
        lines += ["", *_scaling(scaling, report["horizon"])]
    if report["peers"]:
        lines += ["", *_peer_notes(report)]
    lines += [f"{one['name']}: {one['reason']}" for one in report.get("missing", ())]
    if report["beside"]:
        lines += ["", *_jax_peers(report["beside"])]
    return "\n".join(lines)


def update_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench update`` without ``--json``."""
    lines = [
        f"{report['algo']} on {report['task']}: {count(report['num_envs'], 'world')}, {report['horizon']} steps, "
        f"{report['device']}, {_threads(report)}{count(report['torch_threads'], 'torch thread')}; "
        f"medians of {count(report['updates'], 'update')}",
        f"{describe(report['machine'])}; load {rounded(report['machine']['load_before'])} before the run",
        "",
    ]
    if (compared := report["compared"]) is not None and "algo" in compared["fields"]:
        return "\n".join([*lines, *_of_algorithms(compared)])
    if compared is not None:
        return "\n".join([*lines, *_compared(compared)])
    return "\n".join([*lines, table(("part", "ms", "share"), _parts(report)), "", _whole(report)])


def against_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench update --against`` without ``--json``."""
    builds = [(name, report["commits"][name] or "", report[name]) for name in ("against", "here")]
    cpu, wall = report["times_faster_cpu"], report["times_faster_wall"]
    return "\n".join(
        [
            f"{report['algo']} on {report['task']}: {count(report['num_envs'], 'world')}, {report['horizon']} steps; "
            f"{count(report['updates'], 'update')} of each build after {report['warm_up']}, by turns",
            f"{describe(report['machine'])}; load {rounded(report['machine']['load_before'])} before the run",
            "",
            table(("build", "commit", *_TIMES), [(name, commit, *_times(figures)) for name, commit, figures in builds]),
            "",
            f"here: {cpu['median']:.2f} times faster in processor time ({cpu['min']:.2f} to {cpu['max']:.2f}), "
            f"{wall['median']:.2f} times in wall time",
        ]
    )


_TIMES = ("processor time of an update, ms", "wall time, ms")


def _times(figures: Mapping[str, Any]) -> list[str]:
    """Median and range of an update's times, under ``_TIMES``."""
    times = (figures["update_cpu_s"], figures["update_s"])
    return [f"{_ms(time['median'])} ({_ms(time['min'])} to {_ms(time['max'])})" for time in times]


def _of_algorithms(compared: Mapping[str, Any]) -> list[str]:
    """What updates of several algorithms cost, and how that compares with the first, by turns."""
    first = compared["values"][0]["value"]
    rows = []
    for row in compared["values"]:
        of_first = {key: 1 / row["times_faster_cpu"][other] for key, other in _REVERSED.items()}
        compare = f"{of_first['median']:.2f} ({of_first['min']:.2f} to {of_first['max']:.2f})"
        rows.append((row["value"], *_times(row), compare))
    return [table(("algorithm", *_TIMES, f"processor time, times {first}'s"), rows)]


_REVERSED = {"median": "median", "min": "max", "max": "min"}


def _parts(figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows with the time of each part, and its share."""
    timed = figures["timed_update_s"]["median"]
    rows = [(part_name(name), _ms(s), f"{s / timed:.0%}") for name, s in figures["parts_s"].items()]
    return [*rows, ("sum of the medians", _ms(figures["parts_sum_s"]), f"{figures['parts_sum_s'] / timed:.0%}")]


def _whole(figures: Mapping[str, Any]) -> str:
    whole, timed = figures["update_s"], figures["timed_update_s"]
    return (
        f"one update: {_ms(whole['median'])} ms ({_ms(whole['min'])} to {_ms(whole['max'])}) as it is, "
        f"{_ms(timed['median'])} ms ({_ms(timed['min'])} to {_ms(timed['max'])}) with its parts timed; "
        f"{_ms(figures['update_cpu_s']['median'])} ms of processor time"
    )


def _compared(compared: Mapping[str, Any]) -> list[str]:
    values = compared["values"]
    names = [f"{row['value']}, ms" for row in values]
    columns = [{part: ms for part, ms, _ in _parts(row)} for row in values]
    parts = dict.fromkeys(part for column in columns for part in column)
    head = f"{', '.join(compared['fields'])}: {', '.join(row['value'] for row in values)}, by turns"
    lines = [
        head,
        "",
        table(("part", *names), [(part, *(column.get(part, "") for column in columns)) for part in parts]),
        "",
    ]
    lines += [f"{row['value']}: {_whole(row)}" for row in values]
    for row in values[1:]:
        cpu, wall = row["times_faster_cpu"], row["times_faster_wall"]
        lines.append(
            f"{row['value']} against {values[0]['value']}, by turns: {cpu['median']:.2f} times faster in processor "
            f"time ({cpu['min']:.2f} to {cpu['max']:.2f}), {wall['median']:.2f} times in wall time"
        )
    return lines


def _moved(traffic: Mapping[str, Any]) -> str:
    parts = [
        f"{name.replace('_', ' and ')} {part['bytes_per_s'] / 1e9:.2f} GB/s ({part['of_copy']:.2%})"
        for name, part in traffic["dynamics"].items()
    ]
    return (
        f"the dynamics must move at least {', '.join(parts)}; a copy in the device's memory reaches "
        f"{traffic['copy_bytes_per_s'] / 1e9:.0f} GB/s"
    )


def kernels_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench kernels`` without ``--json``."""
    head = ("kernel", "for", "registers", "local bytes", "code", "warps of 64", "worlds at a time")
    rows = [
        (
            row["kernel"],
            f"sm_{row['arch']}, {row['gpu']}",
            str(row["registers"]),
            f"{row['local_bytes']:,}",
            f"{row['code_bytes'] / 1024:.0f} KB",
            f"{row['resident_warps']} ({row['occupancy']:.0%})",
            f"{row['resident_worlds']:,}",
        )
        for row in report["kernels"]
    ]
    moved = ", ".join(f"{name} {size:,}" for name, size in report["bytes_per_step"].items())
    return "\n".join(
        [
            f"{report['task']}, {report['dtype']}: one thread a world, blocks of {report['block']}; registers and "
            "local bytes of a thread",
            "",
            table(head, rows),
            "",
            f"bytes that a world's control step must move in memory: {moved}",
        ]
    )


def reference_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of ``bench reference`` without ``--json``."""
    head = ("task", "first position", "last position", "steps", "reward", "gradient cosine", "gradient norm", "agrees")
    cells = [
        (
            row["task"],
            f"{row['position_error_first']:.1e}",
            f"{row['position_error_last']:.1e}",
            str(row["steps"]),
            f"{row['reward_error']:.1e}",
            f"{row['gradient_cosine']:.6f}",
            f"{row['gradient_norm_ratio']:.4f}",
            "yes" if row["agrees"] else "NO",
        )
        for row in rows
    ]
    return table(head, cells)


def _threads(report: Mapping[str, Any]) -> str:
    return f"{count(report['threads'], 'simulator thread')}, " if report["threads"] else ""


def _rows(what: str, figures: Mapping[str, Any], steps: int) -> list[tuple[str, ...]]:
    return [
        (
            f"{what}, {words}",
            rounded(figures[f"{key}_steps_per_s"]),
            _range(figures["window_s"][key], steps),
            rounded(figures[f"{key}_substeps_per_s"]),
            rounded(figures[f"{key}_sim_s_per_s"]),
            f"{figures['busy_cores'][key]:.1f}",
        )
        for key, words in (("forward", "forward"), ("forward_backward", "forward + backward"))
    ]


def _peer_row(peer: Mapping[str, Any], steps: int) -> tuple[str, ...]:
    return (
        f"MuJoCo, {count(peer['threads'], 'thread')}, forward",
        rounded(peer["forward_steps_per_s"]),
        _range(peer["window_s"]["forward"], steps),
        rounded(peer["own_steps_per_s"]),
        rounded(peer["forward_sim_s_per_s"]),
        f"{peer['busy_cores']:.1f}",
    )


def _jax_peers(peers: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ("", "control steps/s", "simulated s/s", "ours: times as many", "finite", "compiling, s")
    rows = [
        (
            f"{peer['name']}, {name.replace('_', ' + ')}",
            rounded(peer[f"{name}_steps_per_s"]),
            rounded(peer[f"{name}_sim_s_per_s"]),
            rounded(peer[f"{name}_times_slower"]),
            ("yes" if peer["finite"] else "NO")
            if name == "forward"
            else f"{peer['finite_gradients']:.0%} of gradients",
            f"{peer['compile_s']:.0f}" if name == "forward" else "",
        )
        for peer in peers
        for name in ("forward", "forward_backward")
        if f"{name}_steps_per_s" in peer
    ]
    return [
        table(head, rows),
        "In single precision, on the same device. A step of theirs has its own length, and Brax its own robot: "
        "compare simulated s/s.",
    ]


def _finite(peer: Mapping[str, Any], lap: str) -> str:
    if lap == "forward":
        return "yes" if peer["finite"] else "NO"
    return f"{peer['finite_gradients']:.0%} of gradients"


def _scaling(scaling: Mapping[str, Any], horizon: int) -> list[str]:
    steps = scaling["num_envs"] * horizon
    rows = [row for r in scaling["rows"] for row in _rows(f"dynamics, {count(r['threads'], 'thread')}", r, steps)]
    least, most = (scaling["rows"][k]["threads"] for k in (0, -1))
    return [
        count(scaling["num_envs"], "world"),
        table(_HEAD, rows),
        f"{count(most, 'thread')} against {least}: {scaling['forward_speedup']:.2f} times forward, "
        f"{scaling['forward_backward_speedup']:.2f} times forward + backward",
    ]


def _peer_notes(report: Mapping[str, Any]) -> list[str]:
    peer = report["peers"][0]
    notes = [
        f"MuJoCo {report['versions']['mujoco']}, mujoco.rollout: the same model file, start and actions, float64, "
        f"steps of {1e3 * peer['dt_s']:.2f} ms,",
        f"{peer['contacts_mean']:.1f} contacts per world at the window's end. It solves contacts and joint limits as "
        "constraints where ours are",
        "penalty forces, so its steps are fewer and dearer: compare simulated s/s.",
    ]
    if "own_jacobians_per_s" in peer:
        notes.append(
            f"Its derivatives (mjd_transitionFD, forward differences, 1 thread): "
            f"{rounded(peer['own_jacobians_per_s'])} Jacobians of one such step/s, "
            f"{rounded(peer['jacobian_sim_s_per_s'])} simulated s/s."
        )
    if not all(peer["finite"] for peer in report["peers"]):
        notes.append("MuJoCo's worlds did not stay finite: its figures mean nothing here.")
    return notes


def _ratios(what: str, figures: Mapping[str, Any]) -> str:
    return (
        f"{what}: backward pass {figures['backward_over_forward']:.2f} times the forward pass, "
        f"recording forward pass {figures['recording_over_forward']:.2f} times"
    )


def _memory(memory: Mapping[str, Any]) -> str:
    growth = memory["peak_growth_bytes"]
    return (
        f"memory: {memory['kept_window_bytes'] / 1e6:.1f} MB kept for the backward pass of a window, "
        f"{memory['kept_step_bytes'] / 1e3:.1f} kB a world and control step"
        + ("" if growth is None else f"; the first window of the environment took {growth / 1e6:.1f} MB in all")
    )


def _range(spread: Mapping[str, float], steps: int) -> str:
    return f"{rounded(steps / spread['max'])} to {rounded(steps / spread['min'])}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"
