"""Configurations, presets and the registry: typed values, and names that help when they are wrong."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffrl_algos
from diffrl_algos import (
    AlgorithmEntry,
    SHACConfig,
    UsageError,
    get_algorithm,
    list_algorithms,
)
from diffrl_algos import _fields as fields
from diffrl_algos._registry import register_algorithm


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("gamma", "0.98", 0.98),
        ("gamma", "1", 1.0),
        ("actor_lr", "2e-3", 2e-3),
        ("iterations", "12", 12),
        ("actor_hidden", "128,64,32", (128, 64, 32)),
        ("actor_hidden", "", ()),
        ("betas", "0.9, 0.99", (0.9, 0.99)),
        ("critic_shuffle", "True", True),
        ("lr_schedule", "constant", "constant"),
    ],
)
def test_text_becomes_typed_values(name, text, value):
    found = fields.parse(SHACConfig, name, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gamma", "high", "gamma of SHACConfig is 'high'; it takes a number from 0 to 1"),
        ("gamma", "nan", "gamma of SHACConfig is 'nan'; it takes a number from 0 to 1"),
        ("iterations", "1.5", "iterations of SHACConfig is '1.5'; it takes an integer"),
        (
            "actor_hidden",
            "64,x",
            "actor_hidden of SHACConfig is '64,x'; it takes integers from 1 to",
        ),
        ("betas", "0.9", "betas of SHACConfig is '0.9'; it takes 2 numbers of at least 0 and below 1 with"),
        ("critic_shuffle", "1", "critic_shuffle of SHACConfig is '1'; it takes true or false"),
        ("lr_schedule", "cosine", "lr_schedule of SHACConfig is 'cosine'; it takes linear or constant"),
    ],
)
def test_text_of_the_wrong_type(name, text, words):
    with pytest.raises(UsageError, match=words):
        fields.parse(SHACConfig, name, text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"lam": -0.1},
        {"actor_lr": 0.0},
        {"lr_end": -1.0},
        {"critic_hidden": [64, 0]},
        {"betas": [0.7, 1.0]},
        {"torch_threads": 0},
    ],
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))} of SHACConfig is"):
        fields.from_mapping(SHACConfig, wrong)


@given(
    st.builds(
        SHACConfig,
        iterations=st.integers(1, 10**6),
        gamma=st.floats(0, 1),
        actor_hidden=st.lists(st.integers(1, 512), max_size=4).map(tuple),
        betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        critic_shuffle=st.booleans(),
        lr_schedule=st.sampled_from(["linear", "constant"]),
    )
)
def test_configurations_survive_tables_and_text(config):
    assert fields.from_mapping(SHACConfig, fields.to_mapping(config)) == config
    spelled = {
        name: fields.parse(SHACConfig, name, ",".join(map(repr, value)) if isinstance(value, list) else str(value))
        for name, value in fields.to_mapping(config).items()
    }
    assert SHACConfig(**spelled) == config


def test_every_field_has_a_docstring():
    assert all(option.doc for option in fields.field_types(SHACConfig).values())


@dataclasses.dataclass(frozen=True)
class OtherConfig:
    iterations: int = 3
    """Updates."""
    kind: Literal["a", "b"] = "a"


def test_other_algorithms_can_be_registered(monkeypatch):
    monkeypatch.setattr("diffrl_algos._registry._ENTRIES", dict(diffrl_algos._registry._ENTRIES))
    entry = AlgorithmEntry(
        name="other", algorithm="builtins:list", config=f"{__name__}:OtherConfig", arrays="torch", summary="a test"
    )
    register_algorithm(entry)
    register_algorithm(entry)
    assert entry in list_algorithms() and get_algorithm("other").build([1]) == [1]
    with pytest.raises(UsageError, match="'other' exists already"):
        register_algorithm(dataclasses.replace(entry, summary="another"))


def test_algorithms_say_where_they_are():
    entry = get_algorithm("shac")
    algorithm = entry.build(entry.config_class()(gamma=0.5))
    assert algorithm.name == "shac" and algorithm.config.gamma == 0.5
