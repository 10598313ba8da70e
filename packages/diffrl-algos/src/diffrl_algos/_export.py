"""The policy of a run as one file, which is tested before it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._errors import RunError, UsageError, require, unknown
from ._files import plain, write_atomic
from ._run import Run
from ._session import more_worlds
from ._states import restore
from ._surroundings import package_versions

FORMATS = ("onnx", "torch", "jax")
_NEEDED = {"onnx": ("export", "onnx", "onnxscript", "onnxruntime"), "jax": ("jax", "jax", "flax")}
"""The extra and the packages that a format needs beside torch."""
ACTIONS = ("unit", "control")
_WORLDS = 64
_TOLERANCE = 1e-5


def export_run(
    path: Path, out: Path, *, form: str = "onnx", which: str = "last", actions: str = "unit"
) -> dict[str, Any]:
    """Write the deterministic policy of a checkpoint to ``out`` and return the file's own description.

    The file maps observations of the environment, float32 ``[N, no]``, to actions ``[N, na]``, clipped to their bounds;
    it contains the statistics that observations are normalised with. If an observation is a mapping of arrays, they are
    concatenated in the order of ``obs_arrays`` in the file. Before it is written, the file is loaded and compared with
    the policy on the first observations of 64 worlds.

    Args:
        path: run folder.
        out: file to write; an existing one is replaced.
        form: ``"onnx"``, ``"torch"`` (``torch.export``) or ``"jax"`` (``jax.export``, which has no place for the
            description: it goes to a file with ``.json`` behind the name of ``out``).
        which: ``"last"``, ``"best"`` or an iteration.
        actions: ``"unit"``: in [-1, 1], as the environment takes them; ``"control"``: within ``spec.control_range``,
            in the units of the simulator's controls.

    Raises:
        UsageError: an unknown format, a missing extra, a policy that is not a function of the observation, or controls
            of an environment that does not say their range.
        RunError: the run cannot be read, ``out`` cannot be written, or the exported policy acts differently.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if actions not in ACTIONS:
        raise unknown("kind of actions", actions, ACTIONS)
    run = Run.open(path)
    entry = run.spec.entry
    if form in _NEEDED:
        extra, *packages = _NEEDED[form]
        for package in packages:
            require(package, extra)
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is not a folder; make it, or choose another --out")

    import torch

    state, manifest = restore(run, which)
    policy = run.spec.build().policy(state)
    env = more_worlds(run.spec, state.env, _WORLDS)
    spec = env.spec
    if actions == "control" and not spec.control_range:
        raise UsageError(
            f"task {run.spec.task} does not say what its actions stand for, so they cannot be exported as controls; "
            "give the task a control_range, or export with --actions unit"
        )
    bounds = spec.control_range if actions == "control" else ((-1.0, 1.0),) * spec.num_actions
    about = {
        "format": "diffrl-policy-1",
        "algorithm": entry.name,
        "task": run.spec.task,
        "task_options": run.spec.to_json()["task_options"],
        "deterministic": True,
        "num_obs": spec.num_obs,
        "num_actions": spec.num_actions,
        "obs_names": list(spec.obs_names),
        "action_names": list(spec.action_names),
        "actions": actions,
        "action_low": [low for low, _ in bounds],
        "action_high": [high for _, high in bounds],
        "control_range": [list(pair) for pair in spec.control_range],
        "units": plain(dict(spec.units)),
        "dt": spec.dt,
        "seed": run.spec.seed,
        "iteration": manifest.iteration,
        "env_steps": manifest.env_steps,
        "versions": package_versions(),
    }
    obs = env.reset(run.spec.seed)[1]
    if (layout := getattr(policy, "layout", None)) is not None:
        about["obs_arrays"] = [[name, list(shape)] for name, shape in layout.shapes]
        obs = layout.flatten(obs)
    if entry.arrays == "jax":
        obs, acted, policy = _in_torch(entry.name, obs, policy)
    elif isinstance(obs, torch.Tensor):
        obs = obs.cpu()
        acted = policy(obs)
    else:
        raise UsageError(
            f"the policy of {entry.name} cannot be exported; it must be a function of one observation vector, or have "
            "an encoder"
        )
    low, high = torch.tensor(bounds, dtype=torch.float64).unbind(1)
    expected = (low + high) / 2 + acted.double().clamp(-1.0, 1.0) * ((high - low) / 2)
    control_range = spec.control_range if actions == "control" else None
    try:
        data, act = _written(form, policy, about, spec.num_obs, control_range)
    except ValueError as error:
        raise UsageError(f"{entry.name}: {error}") from None
    # As a part of the largest number that each of them can be, so that it means the same for every control.
    error = float(((act(obs) - expected).abs() / torch.maximum(-low, high).clamp(min=1e-30)).max())
    if not error <= _TOLERANCE:
        raise RunError(f"the exported policy differs from the run's by {error:.1e}; nothing was written")
    try:
        if form == "jax":
            write_atomic(out.with_name(f"{out.name}.json"), json.dumps(about, indent=1).encode())
        write_atomic(out, data)
    except OSError as problem:
        raise RunError(f"cannot write {out}: {problem.strerror or problem}") from None
    return {"file": str(out), "form": form, "bytes": len(data), "max_abs_error": error, **about}


def _written(
    form: str, policy: Any, about: Mapping[str, Any], num_obs: int, control_range: Sequence[tuple[float, float]] | None
) -> tuple[bytes, Callable[[Any], Any]]:
    """The file of a policy in torch, and what is read from it again, as a function of tensors.

    Raises:
        ValueError: the policy is no function of the observation alone, or JAX does not have its network.
    """
    import torch

    from .torch import _export as files

    files.require_function(policy)
    if form == "jax":
        from .jax._export import jax_bytes, jax_policy
        from .jax._from_torch import in_jax

        data = jax_bytes(in_jax(policy), num_obs, control_range)
        act = jax_policy(data)
        return data, lambda obs: torch.from_numpy(act(obs.numpy()))
    program = files.export_policy(policy, num_obs, control_range=control_range)
    if form == "onnx":
        data = files.onnx_bytes(program, about, num_obs)
        return data, files.onnx_policy(data)
    data = files.torch_bytes(program, about)
    return data, files.torch_policy(data)


def _in_torch(name: str, obs: Any, policy: Any) -> tuple[Any, Any, Any]:
    """Observations, the actions of a policy in JAX for them, and the policy, all in torch."""
    import numpy as np
    import torch

    from .jax._policy import GaussianPolicy
    from .jax._to_torch import in_torch

    if not isinstance(policy, GaussianPolicy):
        raise UsageError(f"the policy of {name} cannot be exported; in JAX that must be a GaussianPolicy")
    return torch.from_numpy(np.array(obs)), torch.from_numpy(np.array(policy(obs))), in_torch(policy)
