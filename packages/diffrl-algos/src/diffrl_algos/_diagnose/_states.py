"""What the states of a step are like: which parts touch the ground, and groups of states to compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from diffsim_core import Env

from ._moments import Numbers


class Contacts(NamedTuple):
    """Parts of a robot that touch the ground, before and after a step."""

    names: tuple[str, ...]
    before: Numbers
    """``[W, K]`` bool."""
    after: Numbers
    """``[W, K]`` bool."""


def contact_names(env: Env) -> tuple[str, ...]:
    """Shapes of a rigid robot that may touch the ground; none of any other simulator."""
    model = _model(env)
    return () if model is None else tuple(dict.fromkeys(model.contact_geom))


def touching(env: Env, physics: Any) -> Numbers:
    """Which of ``contact_names`` are below the ground, ``[W, K]`` bool."""
    from diffsim_core.rigid import twin, twin_contact

    model, names = _model(env), contact_names(env)
    assert model is not None
    q = physics.q.detach().cpu().double().numpy()
    found = np.zeros((len(q), len(names)), dtype=bool)
    for w, pose in enumerate(q):
        kin = twin.kinematics(model, pose)
        for c, (link, geom) in enumerate(zip(model.contact_link, model.contact_geom, strict=True)):
            at = twin_contact.ground_contact(model, c, kin.rotation[link], kin.position[link])
            found[w, names.index(geom)] |= at.d < 0
    return found


def groups(contacts: Sequence[Contacts | None], states: int) -> dict[str, list[Numbers]]:
    """Masks ``[W]`` of the states of each step that belong together, by the name of the group.

    With contacts: how many parts touch, and whether that changes in the step. Else: thirds of the steps.
    """
    if all(c is not None and c.names for c in contacts):
        known = [c for c in contacts if c is not None]
        counts = [c.before.sum(1) for c in known]
        found = {_touching(k): [count == k for count in counts] for k in sorted(set(np.concatenate(counts).tolist()))}
        changes = [(c.before != c.after).any(1) for c in known]
        found["contacts change in the step"] = changes
        found["contacts stay"] = [~change for change in changes]
    else:
        third = np.minimum(3 * np.arange(len(contacts)) // max(len(contacts), 1), 2)
        names = ("first third", "second third", "last third")
        found = {name: [np.full(states, k == i) for i in third] for k, name in enumerate(names)}
    return {name: masks for name, masks in found.items() if sum(int(mask.sum()) for mask in masks)}


def _touching(count: int) -> str:
    return {0: "nothing touches", 1: "1 part touches"}.get(count, f"{count} parts touch")


def _model(env: Env) -> Any:
    """The model of a rigid robot with contact points, or None."""
    model = getattr(getattr(getattr(env, "task", None), "dynamics", None), "model", None)
    return model if len(getattr(model, "contact_geom", ())) else None
