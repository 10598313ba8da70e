"""Spans exclude what is within them and add up to the whole."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrl_bench._spans import Spans, replaced


def test_nested_spans_exclude_each_other(hand: Any) -> None:
    spans = Spans(hand.clock, floor="rest")
    spans.begin()
    hand.move(1)
    with spans.span("outer"):
        hand.move(2)
        for _ in range(2):
            with spans.span("inner"):
                hand.move(4)
        hand.move(8)
    spans.settle("before")
    hand.move(16)
    spans.settle("after")
    hand.move(32)
    assert spans.end() == 1 + 2 + 8 + 8 + 16 + 32
    assert spans.totals == {"rest": 32, "outer": 10, "inner": 8, "before": 1, "after": 16}
    assert spans.calls == {"outer": 1, "inner": 2}
    spans.begin()
    assert spans.end() == 0
    assert spans.totals == {"rest": 0}


_TREES = st.recursive(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.just([])),
    lambda children: st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.lists(children, max_size=4)),
    max_leaves=20,
)


@given(st.lists(_TREES, max_size=4))
def test_totals_are_each_labels_own_time(trees: list[Any]) -> None:
    now, own = 0, dict.fromkeys("abc", 0)
    spans = Spans(SimpleNamespace(wait=lambda: None, wall=lambda: now))  # type: ignore[arg-type]
    spans.begin()

    def run(label: str, seconds: int, children: list[Any]) -> None:
        nonlocal now
        with spans.span(label):
            now += seconds
            own[label] += seconds
            for child in children:
                run(*child)

    for tree in trees:
        run(*tree)
    assert spans.end() == now == sum(own.values())
    assert {label: spans.totals.get(label, 0) for label in own} == own


def test_an_error_inside_closes_its_span(hand: Any) -> None:
    spans = Spans(hand.clock)
    spans.begin()

    def fail() -> None:
        hand.move(3)
        raise KeyError

    with pytest.raises(KeyError):
        spans.wrap("work", fail)()
    hand.move(1)
    spans.end()
    assert spans.totals == {"rest_of_report": 1, "work": 3}


def test_what_runs_in_other_threads_does_not_count(hand: Any) -> None:
    spans = Spans(hand.clock)
    work = spans.wrap("work", lambda: hand.move(3))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert spans.calls == {}
    spans.end()
    assert spans.totals == {"rest_of_report": 3}


class _Greeter:
    def greet(self) -> str:
        return "hello"


def test_replaced_attributes_come_back() -> None:
    person = _Greeter()
    loud = lambda old: lambda *args: old(*args).upper()  # noqa: E731
    with replaced((_Greeter, "greet", loud)):
        assert person.greet() == "HELLO"
        with replaced((person, "greet", lambda old: lambda: old() + "!")):
            assert person.greet() == "HELLO!"
        assert "greet" not in vars(person)
    assert person.greet() == "hello"
    with pytest.raises(RuntimeError), replaced((person, "greet", loud)):
        raise RuntimeError
    assert person.greet() == "hello"


def test_a_missing_attribute_is_named_and_the_others_restored() -> None:
    person = _Greeter()
    with (
        pytest.raises(ValueError, match="has no 'wave'"),
        replaced((person, "greet", lambda old: lambda: "?"), (person, "wave", lambda old: old)),
    ):
        pytest.fail("must not begin")
    assert person.greet() == "hello"
