"""``OPS``: every operation on numbers that can be traced, with its C++, its value for constants and its derivative.

Derivatives at kinks and poles are those of PyTorch for the same function: half at ties of ``maximum``, 1 on the bounds
of ``clip``, 0 for ``abs`` at 0, infinite for ``sqrt`` at 0, and NaN wherever PyTorch has one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

Pull = Callable[[Any, Any, Any], "list[Any | None]"]
"""``(build, cotangent, node) -> cotangent of each argument``; None for an argument that no derivative reaches."""


@dataclass(frozen=True)
class Op:
    """One operation."""

    code: str
    """C++ with ``{0}``, ``{1}``, ... for the arguments; functions are those of ``lanes.h`` and ``task.h``."""
    pull: Pull | None = None
    """None where nothing has a derivative."""
    fold: Callable[..., Any] | None = None
    """The value for constants, where NumPy's is that of the array library to the bit."""
    kind: str = "real"
    tame: bool = False
    """Whether the result is finite wherever the arguments are, but for overflow."""


class Build(NamedTuple):
    """Makes expressions of a derivative: ``b("*", x, y)``."""

    graph: Any

    def __call__(self, op: str, *args: Any) -> Any:
        if op == "*" and args[0].op == "const" and args[0].value == 0 and self.graph.finite(args[1]):
            return args[0]
        return self.graph.apply(op, *args)

    def number(self, value: float) -> Any:
        return self.graph.constant(value)

    def zero_where(self, mask: Any, x: Any) -> Any:
        return self("where", mask, self.number(0.0), x)

    def zero_unless(self, mask: Any, x: Any) -> Any:
        return self("where", mask, x, self.number(0.0))


def _flat(b: Build, g: Any, node: Any) -> list[Any]:
    """The derivative is 0 everywhere, as a number: PyTorch hands it on, and 0 times infinity is NaN."""
    return [b.number(0.0)] * len(node.args)


def _quotient(b: Build, g: Any, node: Any) -> list[Any]:
    below = node.args[1]
    return [b("/", g, below), b("neg", b("*", g, b("/", node, below)))]


def _larger(wins: str, loses: str) -> Pull:
    def pull(b: Build, g: Any, node: Any) -> list[Any]:
        x, y = node.args
        shared = b("where", b("==", x, y), b("/", g, b.number(2.0)), g)
        return [b.zero_where(b(loses, x, y), shared), b.zero_where(b(wins, x, y), shared)]

    return pull


def _extreme(b: Build, g: Any, node: Any) -> list[Any]:
    ties = [b("==", x, node) for x in node.args]
    one, zero = b.number(1.0), b.number(0.0)
    weights = [b("where", tie, one, zero) for tie in ties]
    count = weights[0]
    for weight in weights[1:]:
        count = b("+", count, weight)
    return [b("/", b("*", g, weight), count) for weight in weights]


def _length(b: Build, g: Any, node: Any) -> list[Any]:
    scale = b.zero_where(b("==", node, b.number(0.0)), b("/", g, node))
    return [b("*", x, scale) for x in node.args]


def _angle(b: Build, g: Any, node: Any) -> list[Any]:
    y, x = node.args
    square = b("+", b("*", y, y), b("*", x, x))
    inverse = b.zero_where(b("==", square, b.number(0.0)), b("/", b.number(1.0), square))
    return [b("*", b("*", g, x), inverse), b("*", b("*", g, b("neg", y)), inverse)]


def _power(b: Build, g: Any, node: Any) -> list[Any]:
    base, exponent = node.args
    zero = b.number(0.0)
    slope = b("*", exponent, b("pow", base, b("-", exponent, b.number(1.0))))
    of_base = b.zero_where(b("==", exponent, zero), b("*", g, slope))
    at_zero = b("and", b("==", base, zero), b("<=", zero, exponent))
    return [of_base, b.zero_where(at_zero, b("*", g, b("*", node, b("log", base))))]


def _clip(b: Build, g: Any, node: Any) -> list[Any | None]:
    x, low, high = node.args
    inside = b("and", b("<=", low, x), b("<=", x, high))
    return [b.zero_unless(inside, g), None, None]


def _sine_over(sign: float) -> Pull:
    def pull(b: Build, g: Any, node: Any) -> list[Any]:
        x = node.args[0]
        slope = b("/", b.number(1.0), b("sqrt", b("+", b("neg", b("*", x, x)), b.number(1.0))))
        return [b("*", g, slope if sign > 0 else b("neg", slope))]

    return pull


def _inverse_root(b: Build, g: Any, node: Any) -> list[Any]:
    slope = b("*", b.number(-0.5), b("pow", node.args[0], b.number(-1.5)))
    return [b("*", g, slope)]


def _one(slope: Callable[[Build, Any, Any], Any]) -> Pull:
    """A function of one argument whose derivative is ``slope(build, x, f(x))``."""
    return lambda b, g, node: [b("*", g, slope(b, node.args[0], node))]


def _square_from_one(b: Build, x: Any) -> Any:
    return b("-", b.number(1.0), b("*", x, x))


OPS: dict[str, Op] = {
    "+": Op("{0} + {1}", lambda b, g, node: [g, g], operator.add),
    "-": Op("{0} - {1}", lambda b, g, node: [g, b("neg", g)], operator.sub),
    "*": Op("{0} * {1}", lambda b, g, node: [b("*", g, node.args[1]), b("*", g, node.args[0])], operator.mul),
    "/": Op("{0} / {1}", _quotient, operator.truediv),
    "held": Op("{0}"),
    "alias": Op("{0}", lambda b, g, node: [g]),
    "neg": Op("-{0}", lambda b, g, node: [b("neg", g)], operator.neg),
    "sqrt": Op("sqrt_({0})", lambda b, g, node: [b("/", g, b("*", b.number(2.0), node))], np.sqrt),
    "rsqrt": Op("number(T(1)) / sqrt_({0})", _inverse_root),
    "abs": Op("abs_({0})", _one(lambda b, x, f: b("step", x)), abs),
    "step": Op("step_({0})", _flat),
    "sign": Op("select({0} != {0}, {0}, step_({0}))", _flat),
    "floor": Op("floor_({0})", _flat),
    "ceil": Op("-floor_(-{0})", _flat),
    "round": Op("round_({0})", _flat),
    "trunc": Op("trunc_({0})", _flat),
    "sin": Op("", _one(lambda b, x, f: b("cos", x))),
    "cos": Op("", lambda b, g, node: [b("neg", b("*", g, b("sin", node.args[0])))]),
    "tan": Op("tan_({0})", _one(lambda b, x, f: b("+", b.number(1.0), b("*", f, f)))),
    "asin": Op("asin_({0})", _sine_over(1.0)),
    "acos": Op("acos_({0})", _sine_over(-1.0)),
    "atan": Op("atan_({0})", lambda b, g, n: [b("/", g, b("+", b("*", n.args[0], n.args[0]), b.number(1.0)))]),
    "sinh": Op("sinh_({0})", _one(lambda b, x, f: b("cosh", x))),
    "cosh": Op("cosh_({0})", _one(lambda b, x, f: b("sinh", x))),
    "tanh": Op("tanh_({0})", _one(lambda b, x, f: _square_from_one(b, f))),
    "exp": Op("exponential({0})", _one(lambda b, x, f: f)),
    "expm1": Op("expm1_({0})", _one(lambda b, x, f: b("+", f, b.number(1.0)))),
    "log": Op("logarithm({0})", lambda b, g, node: [b("/", g, node.args[0])]),
    "log1p": Op("log1p_({0})", lambda b, g, node: [b("/", g, b("+", node.args[0], b.number(1.0)))]),
    "atan2": Op("angle({0}, {1})", _angle),
    "pow": Op("pow_({0}, {1})", _power),
    "maximum": Op("larger({0}, {1})", _larger(">", "<")),
    "minimum": Op("smaller({0}, {1})", _larger("<", ">")),
    "clip": Op("smaller(larger({0}, {1}), {2})", _clip),
    "max": Op("larger", _extreme),
    "min": Op("smaller", _extreme),
    "norm": Op("length", _length),
    "where": Op(
        "select({0}, {1}, {2})",
        lambda b, g, node: [None, b.zero_unless(node.args[0], g), b.zero_where(node.args[0], g)],
    ),
    "where_mask": Op("({0} & {1}) | (not_({0}) & {2})", kind="mask"),
    "<": Op("{0} < {1}", None, operator.lt, "mask"),
    "<=": Op("{0} <= {1}", None, operator.le, "mask"),
    ">": Op("{0} > {1}", None, operator.gt, "mask"),
    ">=": Op("{0} >= {1}", None, operator.ge, "mask"),
    "==": Op("{0} == {1}", None, operator.eq, "mask"),
    "!=": Op("{0} != {1}", None, operator.ne, "mask"),
    "and": Op("{0} & {1}", None, operator.and_, "mask"),
    "or": Op("{0} | {1}", None, operator.or_, "mask"),
    "xor": Op("{0} ^ {1}", None, operator.xor, "mask"),
    "not": Op("not_({0})", None, operator.not_, "mask"),
    "isnan": Op("{0} != {0}", None, np.isnan, "mask"),
    "isinf": Op("abs_({0}) == splat(T(DS_INFINITY))", None, np.isinf, "mask"),
    "isfinite": Op("abs_({0}) < splat(T(DS_INFINITY))", None, np.isfinite, "mask"),
}
"""By name. ``max``, ``min`` and ``norm`` take any number of arguments; ``sin`` and ``cos`` of one argument are computed
together. ``held`` stops derivatives, ``alias`` is its argument, and ``step`` is the sign with 0 for a NaN."""

_TAME = "+ - * held alias neg abs step sign floor ceil round trunc sin cos tanh atan atan2 where norm"
_TAME += " maximum minimum clip max min"
OPS |= {name: replace(OPS[name], tame=True) for name in _TAME.split()}
