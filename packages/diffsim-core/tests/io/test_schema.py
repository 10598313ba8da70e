"""Nothing that a model file can say is dropped in silence."""

from __future__ import annotations

import pytest

from . import schema


def test_every_attribute_that_mujoco_knows_has_a_word() -> None:
    """A new version of MuJoCo with a new attribute fails here; ``schema.py`` says what to do."""
    words = schema.table()
    for kind, names in schema.attributes().items():
        missing = [name for name in names if name not in words[kind]]
        assert not missing, f"{kind}: {', '.join(missing)}: try them in schema_trials.toml, or write a word for each"


@pytest.mark.parametrize("kind", [*schema.TRIALS, "disable", "enable"])
def test_the_words_are_true(kind: str) -> None:
    words = schema.table()[kind]
    found = {name: schema.tried(kind, name) for k, name in schema.trials() if k == kind}
    wrong = {name: f"{word}, not {words.get(name)}" for name, word in found.items() if word != words.get(name)}
    assert not wrong, f"{wrong}: correct the loader, or run schema.py if it has learnt something"
