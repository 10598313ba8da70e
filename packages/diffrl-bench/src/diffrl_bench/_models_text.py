"""What the rows of ``diffrl bench models`` say: verdicts, counts and tables."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ._record import Row
from ._text import magnitude, table

SAME = 1e-8
"""Largest relative error of mass matrix, force and acceleration of a model that is as MuJoCo has it."""
WRONG = 1e-6
"""Largest relative error of the gradient of a model that is right."""
APART = 0.02
"""Largest distance in height from MuJoCo after a second of standing [m]."""
_COMPILER = "MuJoCo cannot compile it: "
OWN = "your files"
"""How models that belong to no package are called."""

CHECKS: dict[str, Callable[[Row], bool | None]] = {
    "load": lambda row: row["status"] == "loads",
    "as MuJoCo": lambda row: _within(row, "beside_mujoco", ("mass", "force", "acceleration"), SAME),
    "gradient": lambda row: _within(row, "gradient", ("error",), WRONG),
    "100 steps": lambda row: _finished(row),
    "stand": lambda row: _stands(row),
}
"""Whether a model passes, for each column of the table; None where the check does not apply or was not made."""


def _number(value: object) -> float | None:
    """Rows write infinity as text, as JSON has none."""
    return None if value is None else float(str(value))


def _within(row: Row, stage: str, names: Sequence[str], most: float) -> bool | None:
    found = row.get(stage)
    if found is None:
        return None if row["status"] == "refused" or not row["measured"] else False
    if "error" in found and isinstance(found["error"], str) and not _is_number(found["error"]):
        return False
    values = [_number(found[name]) for name in names]
    if None in values:  # no direction without a switch
        return None
    return all(value is not None and value <= most for value in values)


def _is_number(text: str) -> bool:
    return math.isinf(float(text)) if text in ("inf", "-inf", "nan") else False


def _finished(row: Row) -> bool | None:
    found = row.get("random_steps")
    if found is None:
        return None if row["status"] == "refused" or not row["measured"] else False
    if "error" in found:
        return False
    return found["finished"] == found["of"]


def _stands(row: Row) -> bool | None:
    found = row.get("stand")
    if found is None or "error" in found or not (found["rests"] and found["in_range"]):
        return None
    apart = _number(found["apart_m"])
    return apart is not None and abs(apart) <= APART


def counts(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Models that pass each check, and to which it applies."""
    answers = {name: [check(row) for row in rows] for name, check in CHECKS.items()}
    return {name: (sum(a is True for a in found), sum(a is not None for a in found)) for name, found in answers.items()}


def by_package(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each package."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["package"] or OWN, []).append(row)
    return groups


def summary_table(rows: Sequence[Row], *, markdown: bool) -> str:
    """A line for each package, and one for all."""
    groups = by_package(rows)
    lines = [_summary(name, group) for name, group in groups.items()]
    if len(groups) > 1:
        lines.append(_summary("all", rows))
    return table(("", "models", *CHECKS), lines, markdown=markdown)


def _summary(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    found = counts(rows)
    loaded = found.pop("load")[0]
    rest = (f"{passed} of {of}" if of else "-" for passed, of in found.values())
    return name, str(len(rows)), f"{loaded} ({loaded / len(rows):.0%})", *rest


def reason(row: Row) -> str:
    """In a few words, why a model does not do all that is asked of it; empty where it does."""
    if row["ended"] is not None and row["status"] != "loads":
        return str(row["ended"])
    if row["status"] == "refused":
        more = row["count"] - 1
        return shorten(row["problems"][0]) + (f" (and {more} more)" if more else "")
    said = [text for text in (_measured(row, name) for name in CHECKS) if text]
    return "; ".join([*said, *([str(row["ended"])] if row["ended"] is not None else [])])


def shorten(problem: str, length: int = 160) -> str:
    """A problem on one line of a table."""
    text = " ".join(problem.split()).replace("|", "/").replace("<", "&lt;")
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _measured(row: Row, name: str) -> str:
    if CHECKS[name](row) is not False:
        return ""
    stage = {"as MuJoCo": "beside_mujoco", "gradient": "gradient", "100 steps": "random_steps", "stand": "stand"}[name]
    found = row.get(stage)
    if found is None:
        return f"{stage} was not reached"
    if isinstance(found.get("error"), str) and not _is_number(found["error"]):
        return f"{stage}: {shorten(found['error'], 120)}"
    return _SAID[name](found)


def _beside(found: Mapping[str, object]) -> str:
    values = {key: _number(found[key]) for key in ("mass", "force", "acceleration")}
    return "differs from MuJoCo: " + ", ".join(f"{key} {magnitude(value)}" for key, value in values.items())


def _standing(found: Mapping[str, object]) -> str:
    apart = _number(found["apart_m"])
    where = "diverges" if apart is None else f"ends {1e3 * apart:+.0f} mm from MuJoCo's height"
    return f"standing for a second, {where}"


_SAID: dict[str, Callable[[Mapping[str, object]], str]] = {
    "as MuJoCo": _beside,
    "gradient": lambda found: f"gradient off by {magnitude(_number(found['error']))}",
    "100 steps": lambda found: f"diverges at random step {found['finished']} with {found['substeps']} sub-steps",
    "stand": _standing,
}


def kinds(rows: Sequence[Row]) -> list[tuple[str, int, int]]:
    """Kinds of problems of models that do not load: the words, models that have it, and models that have no other."""
    have: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for row in rows:
        found = {kind(problem) for problem in row.get("problems", ())}
        found |= {kind(row["ended"])} if row["ended"] is not None and row["status"] != "loads" else set()
        have.update(found)
        alone.update(found if len(found) == 1 else ())
    return [(name, number, alone[name]) for name, number in have.most_common()]


def kind(problem: str) -> str:
    """A problem without the names and numbers of one file."""
    by_mujoco = problem.startswith(_COMPILER)
    text = re.sub(r"^((XML )?Error: )+", "", problem.removeprefix(_COMPILER))
    text = re.sub(r'\([^)]*\)|"[^"]*"', "", text)
    text = re.sub(r"'[^']*'|\S*/\S*", "…", text)  # names and paths
    text = re.split(r"[:;,](?= )| Element | Object name ", text, maxsplit=1)[0]
    text = " ".join(re.sub(r"\b[\d.]+\b", "N", text).split())
    return shorten((_COMPILER if by_mujoco else "") + text, 110)


def kinds_table(rows: Sequence[Row], *, markdown: bool, most: int = 30) -> str:
    """What keeps models from loading, most frequent first."""
    lines = [(name, str(number), str(alone)) for name, number, alone in kinds(rows)[:most]]
    return table(("what keeps models out", "models", "nothing else"), lines, markdown=markdown)


def models_text(rows: Sequence[Row]) -> str:
    """The tables of the terminal."""
    found = [summary_table(rows, markdown=False)]
    if any(row["status"] != "loads" for row in rows):
        found.append(kinds_table(rows, markdown=False, most=12))
    lines = [(row["model"], reason(row)) for row in rows if reason(row)]
    if lines and len(lines) <= 25:
        found.append("\n".join(f"{name}: {said}" for name, said in lines))
    return "\n\n".join(found)


def page_tables(rows: Sequence[Row]) -> str:
    """The tables of the documentation: packages, kinds of problems, and every model, folded by package."""
    parts = [summary_table(rows, markdown=True), kinds_table(rows, markdown=True)]
    for name, group in by_package(rows).items():
        lines = "\n".join(f"    - `{_file(row)}`: {reason(row) or _good(row)}" for row in group)
        parts.append(f'??? note "{name}: {counts(group)["load"][0]} of {len(group)} load"\n\n{lines}')
    return "\n\n".join(parts) + "\n"


def _good(row: Row) -> str:
    return "works" if row["measured"] else "loads, and was not checked further"


def _file(row: Row) -> str:
    """The model's path within its package."""
    name = str(row["model"])
    return name.partition("/")[2] if row["package"] else name
