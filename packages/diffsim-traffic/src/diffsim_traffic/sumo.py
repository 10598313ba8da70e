"""Traffic of SUMO to compare with (the extra ``sumo``): a platoon behind a leader with a speed profile, and a highway.

SUMO (https://eclipse.dev/sumo) runs unchanged in this process, through libsumo, on files that this module writes. The
position of its vehicles is the front bumper; the recordings here hold the centre.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffsim_traffic.laws import IDM

# fmt: off
PROFILE = (
    (0, 15), (10, 15), (15, 25), (30, 25), (36, 8), (50, 8), (55, 20), (70, 20), (78, 0), (90, 0), (100, 15), (120, 15),
)
"""Times [s] and speeds [m/s] of a leader, linear in between: fast, slow, and a stop."""
# fmt: on


@dataclass(frozen=True, kw_only=True)
class Platoon:
    """Drivers of the Intelligent Driver Model behind a leader."""

    drivers: Sequence[Mapping[str, float]]
    """Parameters of each driver, from the one behind the leader on."""
    profile: Sequence[tuple[float, float]] = PROFILE
    """Speed profile of the leader: times [s] and speeds [m/s]."""
    spacing: float = 30.0
    """Distance between fronts at the start [m]."""
    length: float = 5.0
    """Length of a vehicle [m]."""
    dt: float = 0.1
    """[s]; a whole number of milliseconds, SUMO's unit of time."""

    def __post_init__(self) -> None:
        _check_clock(self.dt)
        if not self.drivers:
            raise ValueError("drivers is empty; a platoon needs at least 1")
        if not self.spacing > self.length:
            raise ValueError(f"spacing={self.spacing!r} m must exceed the length of a vehicle, {self.length!r} m")
        times = np.array([t for t, _ in self.profile], dtype=np.float64)
        if len(times) < 2 or times[0] != 0 or not (np.diff(times) > 0).all() or min(v for _, v in self.profile) < 0:
            raise ValueError(
                f"profile={self.profile!r} must be (time, speed) pairs from time 0 on, rising, speeds >= 0"
            )
        IDM.check(self.parameters(), self.dt)

    def parameters(self) -> np.ndarray[Any, Any]:
        """``[D, 5]`` as in ``TrafficConstants.drivers``."""
        return np.stack([IDM.row(**driver) for driver in self.drivers])

    def leader_speeds(self) -> np.ndarray[Any, Any]:
        """Speed of the leader at every step, ``[T + 1]`` [m/s]."""
        times, speeds = np.array(self.profile, dtype=np.float64).T
        return np.interp(np.arange(round(times[-1] / self.dt) + 1) * self.dt, times, speeds)


class Record(NamedTuple):
    """Recorded vehicles, the leader first."""

    x: np.ndarray[Any, Any]
    """Positions of centres ``[T + 1, V]`` [m]."""
    v: np.ndarray[Any, Any]
    """Speeds ``[T + 1, V]`` [m/s]."""


def simulate_platoon(platoon: Platoon) -> Record:
    """Simulate the platoon in SUMO.

    Raises:
        ImportError: SUMO is not installed; the message names the extra.
        RuntimeError: SUMO lost a vehicle.
    """
    speeds = platoon.leader_speeds()
    dt, length = platoon.dt, platoon.length
    types = [_type(0, "Krauss", dt, length, maxSpeed=100, accel=1000, decel=1000, tau=1)]
    types += [_driver(k, driver, dt, length) for k, driver in enumerate(platoon.drivers, start=1)]
    front = platoon.spacing * len(types) + length
    cars = [_Car(k, 0, front - k * platoon.spacing, speeds[0]) for k in range(len(types))]
    end = front + speeds.max() * len(speeds) * dt + 1000
    names = [str(k) for k in range(len(types))]
    x, v = [], []
    with _Run(road=end, lanes=1, types=types, cars=cars, dt=dt) as sumo:
        sumo.vehicle.setSpeedMode(names[0], 0)
        for k in range(len(speeds)):
            if sumo.vehicle.getIDCount() != len(names):
                raise RuntimeError(f"SUMO has {sumo.vehicle.getIDCount()} of {len(names)} vehicles at step {k}")
            x.append([sumo.vehicle.getLanePosition(name) - length / 2 for name in names])
            v.append([sumo.vehicle.getSpeed(name) for name in names])
            if k + 1 < len(speeds):
                sumo.vehicle.setSpeed(names[0], float(speeds[k + 1]))
                sumo.simulationStep()
    return Record(np.array(x), np.array(v))


class Highway:
    """Equal drivers on a straight road in SUMO, to measure its speed; use it in a ``with`` statement.

    SUMO's drivers change lanes to gain speed, by SUMO's default model.

    Args:
        num_vehicles: vehicles over all lanes.
        num_lanes: lanes of the road.
        driver: parameters of the Intelligent Driver Model by name.
        spacing: distance between fronts at the start [m].
        speed: speed at the start [m/s].
        dt: duration of a step [s]; a whole number of milliseconds, SUMO's unit of time.
        steps: largest number of steps, which determines the length of the road.
    """

    def __init__(
        self,
        *,
        num_vehicles: int,
        num_lanes: int,
        driver: Mapping[str, float],
        spacing: float = 30.0,
        speed: float = 15.0,
        dt: float = 0.1,
        steps: int = 10_000,
    ) -> None:
        _check_clock(dt)
        rows = -(-num_vehicles // num_lanes)
        front = spacing * (rows + 1)
        cars = [_Car(0, k % num_lanes, front - (k // num_lanes) * spacing, speed) for k in range(num_vehicles)]
        road = front + driver["v0"] * dt * steps + 1000
        self._run = _Run(road=road, lanes=num_lanes, types=[_driver(0, driver, dt, 5.0)], cars=cars, dt=dt)

    def __enter__(self) -> Highway:
        self._sumo = self._run.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._run.__exit__(*error)

    @property
    def num_vehicles(self) -> int:
        """Vehicles on the road now."""
        return self._sumo.vehicle.getIDCount()

    def step(self, steps: int) -> None:
        """Simulate so many steps; nothing is read out."""
        for _ in range(steps):
            self._sumo.simulationStep()


def _check_clock(dt: float) -> None:
    """SUMO rounds a step to milliseconds, and would simulate another scene than the one described."""
    milliseconds = dt * 1000
    if (
        not math.isfinite(dt)
        or round(milliseconds) < 1
        or abs(milliseconds - round(milliseconds)) > 1e-9 * milliseconds
    ):
        nearest = max(1, round(milliseconds)) / 1000 if math.isfinite(dt) else 0.1
        raise ValueError(f"dt={dt!r} s: SUMO counts time in whole milliseconds; take {nearest!r}")


class _Car(NamedTuple):
    kind: int
    lane: int
    front: float
    speed: float


def _driver(kind: int, p: Mapping[str, float], dt: float, length: float) -> str:
    law = {"accel": p["a"], "decel": p["b"], "tau": p["T"], "minGap": p["s0"], "maxSpeed": p["v0"], "delta": 4}
    return _type(kind, "IDM", dt, length, **law, stepping=dt, emergencyDecel=9)


def _type(kind: int, law: str, dt: float, length: float, **numbers: float) -> str:
    numbers = {"length": length, "speedFactor": 1, "speedDev": 0, "sigma": 0, "actionStepLength": dt, **numbers}
    written = "".join(f' {name}="{float(value)!r}"' for name, value in numbers.items())
    return f'<vType id="t{kind}" carFollowModel="{law}"{written}/>'


class _Run:
    """A context that runs SUMO on a straight road with every vehicle on it; its value is the module libsumo."""

    def __init__(self, *, road: float, lanes: int, types: list[str], cars: list[_Car], dt: float) -> None:
        self._libsumo, self._netconvert = _sumo()
        self._nodes = f'<nodes><node id="a" x="0" y="0"/><node id="b" x="{float(road)!r}" y="0"/></nodes>'
        self._edges = f'<edges><edge id="e" from="a" to="b" numLanes="{lanes}" speed="100"/></edges>'
        placed = [
            f'<vehicle id="{k}" type="t{car.kind}" route="r" depart="0" departLane="{car.lane}" insertionChecks="none"'
            f' departPos="{float(car.front)!r}" departSpeed="{float(car.speed)!r}"/>'
            for k, car in enumerate(cars)
        ]
        self._routes = f'<routes>{"".join(types)}<route id="r" edges="e"/>{"".join(placed)}</routes>'
        self._dt = dt

    def __enter__(self) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            nodes, edges, routes, net = (str(Path(folder) / f"{name}.xml") for name in ("nod", "edg", "rou", "net"))
            for path, text in ((nodes, self._nodes), (edges, self._edges), (routes, self._routes)):
                Path(path).write_text(text, encoding="utf-8")
            convert = [self._netconvert, "--node-files", nodes, "--edge-files", edges, "--output-file", net]
            subprocess.run(convert, check=True, capture_output=True)
            arguments = ["sumo", "--net-file", net, "--route-files", routes, "--no-step-log", "--no-warnings"]
            arguments += ["--step-length", repr(self._dt), "--collision.action", "none", "--seed", "1"]
            self._libsumo.start([*arguments, "--threads", "1", "--time-to-teleport", "-1"])
            self._libsumo.simulationStep()  # inserts the vehicles without moving them
        return self._libsumo

    def __exit__(self, *error: object) -> None:
        self._libsumo.close()


def _sumo() -> tuple[Any, str]:
    """The module libsumo, and the path of the program that makes road networks."""
    try:
        import libsumo
        import sumolib
    except ImportError as error:
        raise ImportError("SUMO is not installed: pip install 'diffsim-traffic[sumo]'") from error
    return libsumo, sumolib.checkBinary("netconvert")
