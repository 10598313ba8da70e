"""Traffic of SUMO beside ours (the extra ``sumo``): a platoon behind a leader who follows a profile of speed.

SUMO (https://eclipse.dev/sumo) is run as it comes, in this process, by libsumo, on files made here. Its vehicles have
their position at the front bumper; what is recorded here is the centre.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffsim_traffic.laws import IDM

PROFILE = (
    (0, 15),
    (10, 15),
    (15, 25),
    (30, 25),
    (36, 8),
    (50, 8),
    (55, 20),
    (70, 20),
    (78, 0),
    (90, 0),
    (100, 15),
    (120, 15),
)
"""Times [s] and speeds [m/s] of a leader, linear in between: fast, slow, and a stop."""


@dataclass(frozen=True, kw_only=True)
class Platoon:
    """Drivers of the Intelligent Driver Model behind a leader."""

    drivers: Sequence[Mapping[str, float]]
    """Parameters of each, the one behind the leader first."""
    profile: Sequence[tuple[float, float]] = PROFILE
    """Of the leader: times [s] and speeds [m/s]."""
    spacing: float = 30.0
    """Between fronts at the start [m]."""
    length: float = 5.0
    """Of a vehicle [m]."""
    dt: float = 0.1
    """[s]"""

    def __post_init__(self) -> None:
        if not self.drivers:
            raise ValueError("drivers is empty: a platoon needs at least 1")
        if not self.spacing > self.length:
            raise ValueError(f"spacing={self.spacing!r} m must exceed the length of a vehicle, {self.length!r} m")
        times = np.array([t for t, _ in self.profile], dtype=np.float64)
        if len(times) < 2 or times[0] != 0 or not (np.diff(times) > 0).all() or min(v for _, v in self.profile) < 0:
            raise ValueError(
                f"profile={self.profile!r} must be (time, speed) pairs from time 0 on, rising, speeds >= 0"
            )
        IDM.check(self.parameters(), self.dt)

    def parameters(self) -> np.ndarray[Any, Any]:
        """``[D, 5]`` as in ``TrafficState.drivers``."""
        return np.stack([IDM.row(**driver) for driver in self.drivers])

    def leader_speeds(self) -> np.ndarray[Any, Any]:
        """At every step, ``[T + 1]`` [m/s]."""
        times, speeds = np.array(self.profile, dtype=np.float64).T
        return np.interp(np.arange(round(times[-1] / self.dt) + 1) * self.dt, times, speeds)


class Record(NamedTuple):
    """What vehicles did, the leader first."""

    x: np.ndarray[Any, Any]
    """Positions of centres ``[T + 1, V]`` [m]."""
    v: np.ndarray[Any, Any]
    """Speeds ``[T + 1, V]`` [m/s]."""


def simulate_platoon(platoon: Platoon) -> Record:
    """The platoon in SUMO.

    Raises:
        ImportError: if SUMO is not installed; the message names the extra.
        RuntimeError: if SUMO lost a vehicle.
    """
    libsumo, netconvert = _sumo()
    speeds = platoon.leader_speeds()
    names = [f"car{k}" for k in range(len(platoon.drivers) + 1)]
    front = platoon.spacing * len(names) + platoon.length
    road = front + speeds.max() * (len(speeds) * platoon.dt) + 1000
    with tempfile.TemporaryDirectory() as folder:
        arguments = _files(Path(folder), platoon, names, front, float(speeds[0]), road, netconvert)
        libsumo.start(arguments)
        try:
            return _drive(libsumo, platoon, names, speeds)
        finally:
            libsumo.close()


def _drive(libsumo: Any, platoon: Platoon, names: list[str], speeds: np.ndarray[Any, Any]) -> Record:
    x, v = [], []
    libsumo.simulationStep()  # inserts the vehicles, moves nobody
    libsumo.vehicle.setSpeedMode(names[0], 0)
    for k in range(len(speeds)):
        if libsumo.vehicle.getIDCount() != len(names):
            raise RuntimeError(f"SUMO has {libsumo.vehicle.getIDCount()} of {len(names)} vehicles at step {k}")
        x.append([libsumo.vehicle.getLanePosition(name) - platoon.length / 2 for name in names])
        v.append([libsumo.vehicle.getSpeed(name) for name in names])
        if k + 1 < len(speeds):
            libsumo.vehicle.setSpeed(names[0], float(speeds[k + 1]))
            libsumo.simulationStep()
    return Record(np.array(x), np.array(v))


def _files(
    folder: Path, platoon: Platoon, names: list[str], front: float, speed: float, road: float, netconvert: str
) -> list[str]:
    import subprocess

    (folder / "n.nod.xml").write_text(f'<nodes><node id="a" x="0" y="0"/><node id="b" x="{road}" y="0"/></nodes>')
    edge = '<edge id="e" from="a" to="b" numLanes="1" speed="100"/>'
    (folder / "e.edg.xml").write_text(f"<edges>{edge}</edges>")
    net = folder / "net.xml"
    files = ["--node-files", str(folder / "n.nod.xml"), "--edge-files", str(folder / "e.edg.xml")]
    subprocess.run([netconvert, *files, "--output-file", str(net)], check=True, capture_output=True)
    common = f'length="{platoon.length}" speedFactor="1" speedDev="0" sigma="0" actionStepLength="{platoon.dt}"'
    types = [f'<vType id="t0" carFollowModel="Krauss" maxSpeed="100" accel="1000" decel="1000" tau="1" {common}/>']
    for k, p in enumerate(platoon.drivers, start=1):
        law = f'carFollowModel="IDM" accel="{p["a"]!r}" decel="{p["b"]!r}" tau="{p["T"]!r}" minGap="{p["s0"]!r}"'
        law += f' maxSpeed="{p["v0"]!r}" delta="4" stepping="{platoon.dt}" emergencyDecel="9"'
        types.append(f'<vType id="t{k}" {law} {common}/>')
    vehicles = [
        f'<vehicle id="{name}" type="t{k}" route="r" depart="0" departLane="0"'
        f' departPos="{front - k * platoon.spacing}" departSpeed="{speed}" insertionChecks="none"/>'
        for k, name in enumerate(names)
    ]
    (folder / "r.rou.xml").write_text(f'<routes>{"".join(types)}<route id="r" edges="e"/>{"".join(vehicles)}</routes>')
    arguments = [
        "sumo",
        "--net-file",
        str(net),
        "--route-files",
        str(folder / "r.rou.xml"),
        "--no-step-log",
        "--no-warnings",
    ]
    arguments += ["--step-length", str(platoon.dt), "--collision.action", "none", "--seed", "1", "--threads", "1"]
    return [*arguments, "--time-to-teleport", "-1", "--precision", "12"]


def _sumo() -> tuple[Any, str]:
    """libsumo, and the path of the program that makes road networks."""
    try:
        import libsumo
        import sumolib
    except ImportError as error:
        raise ImportError("SUMO is not installed: pip install 'diffsim-traffic[sumo]'") from error
    return libsumo, sumolib.checkBinary("netconvert")
