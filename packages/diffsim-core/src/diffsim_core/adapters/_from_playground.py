"""``FromPlayground``: MuJoCo Playground's environments by name, as those of Brax."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from diffsim_core._nearest import unknown
from diffsim_core.adapters._brax_worlds import check_dtype, shared_worlds
from diffsim_core.adapters._from_brax import FromBrax
from diffsim_core.adapters._jax_worlds import Worlds, precision
from diffsim_core.adapters._missing import needed_by
from diffsim_core.options import EpisodeLength, Option, Options

_PACKAGE = "mujoco_playground"
_MODELS = Path("external_deps", "mujoco_menagerie")
"""Where Playground keeps the robots' models, in its own folder."""
_NOT_OPTIONS = ("action_repeat",)
"""Fields of a configuration that only Playground's trainers read."""
_IMPL = "MuJoCo's implementation on accelerators: MJX in JAX, or MJX on Warp, which has no gradients."
_LIMIT = "Control steps after which an episode is truncated."


class FromPlayground(FromBrax):
    """Worlds of an environment of MuJoCo Playground, given by its name; all else is as in ``FromBrax``.

    Options are the numbers, strings and bools of the environment's configuration, those of its parts with a dot:
    ``"reward_config.scales.alive"``. ``impl`` is ``"jax"`` unless given, because MJX on Warp has no gradients.

    Playground downloads the robots' models when it loads a robot for the first time. Nothing here starts that.

    Args:
        env: the name of an environment (``"CartpoleBalance"``).
        num_envs: number of worlds N.
        arrays: ``"torch"`` or ``"jax"``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.
        dtype: ``"float32"`` or ``"float64"``.
        world_offset: number of the first world.
        name: name of the environment; default: ``playground:`` and its name.
        options: fields of the configuration; ``episode_length`` is the time limit in control steps.

    Raises:
        ValueError: the environment or an option does not exist or fit, the models of its robot are not there, it does
            not run with the installed JAX, or there is no such device.
        ImportError: Playground is not installed.
    """

    def __init__(
        self,
        env: str,
        num_envs: int = 1,
        *,
        arrays: str = "torch",
        device: str = "cpu",
        dtype: str = "float32",
        world_offset: int = 0,
        name: str | None = None,
        **options: Any,
    ) -> None:
        check_dtype(dtype, arrays)
        declared, label = type(self).options(env), name or f"playground:{env}"
        chosen = {"impl": declared["impl"].default} if "impl" in declared.known else {}
        given = {**chosen, **declared.convert(options)}
        with precision(dtype):
            worlds = _worlds(env, label, dtype, given)
        limit = {"episode_length": given.get("episode_length", declared["episode_length"].default)}
        place: dict[str, Any] = {"arrays": arrays, "device": device, "dtype": dtype, "world_offset": world_offset}
        super().__init__(worlds, num_envs, name=label, **place, **limit)

    @classmethod
    def options(cls, env: str) -> Options:
        """The options of ``make("playground:NAME")``: the fields of the configuration of ``env``, a name.

        Raises:
            ValueError: there is no such environment; the nearest names are given.
            ImportError: Playground is not installed.
        """
        registry = _playground().registry
        if env not in registry.ALL_ENVS:
            raise ValueError(unknown("environment of MuJoCo Playground", env, registry.ALL_ENVS))
        known = {name: Option(name=name, kind=type(value), default=value) for name, value in _fields(registry, env)}
        limit = known["episode_length"].default if "episode_length" in known else 1000
        known["episode_length"] = Option(
            name="episode_length", kind=EpisodeLength, default=limit, unit="steps", doc=_LIMIT
        )
        if "impl" in known:
            known["impl"] = Option(name="impl", kind=Literal["jax", "warp"], default="jax", doc=_IMPL)
        return Options(owner=f"environment {env!r} of MuJoCo Playground", known=known)


def _worlds(env: str, label: str, dtype: str, options: Mapping[str, Any]) -> Worlds:
    """The worlds of Playground's environment ``env`` with ``options`` in place of fields of its configuration.

    Args:
        env: as Playground has it.
        label: as the user has it, for messages.
        dtype: of the real numbers.
        options: fields by their names, parts with a dot.

    Raises:
        ValueError: the models of its robot are not there, or it cannot be made with these options.
    """
    playground = _playground()
    _require_models(playground, env)
    registry = playground.registry
    own = {name for name, _ in _fields(registry, env)}
    overrides = {name: value for name, value in options.items() if name in own}

    def make(**overrides: Any) -> Any:
        return registry.load(env, config_overrides=overrides)

    return shared_worlds((_PACKAGE, env), make, label, dtype, overrides, "other options")


def _require_models(playground: Any, env: str) -> None:
    """Raise ``ValueError`` if ``env`` is one of those that download models when loaded, and the models are missing."""
    folder = Path(playground.__file__).parent / _MODELS
    if env not in playground.dm_control_suite.ALL_ENVS and not folder.exists():
        code = f"from mujoco_playground import registry; registry.load('{env}')"
        raise ValueError(
            f"environment {env!r} of MuJoCo Playground needs models of robots, which are not in {folder}; Playground "
            f'downloads them with git if you run: python -c "{code}"'
        )


def _fields(registry: Any, env: str) -> Iterator[tuple[str, Any]]:
    """The numbers, strings and bools of an environment's configuration, those of its parts with a dot in the name."""

    def walk(part: Any, path: str) -> Iterator[tuple[str, Any]]:
        for name, value in part.items():
            if hasattr(value, "items"):
                yield from walk(value, f"{path}{name}.")
            elif isinstance(value, bool | int | float | str) and name not in _NOT_OPTIONS:
                yield f"{path}{name}", value

    return walk(registry.get_default_config(env), "")


def _playground() -> Any:
    """The package. No extra installs it, because it would bring a dozen others that nothing else here needs."""
    with needed_by("FromPlayground", "playground"):
        return importlib.import_module(_PACKAGE)
