"""The live view: a server that plays motions in a browser, for a running training. Needs the extra ``live``."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import socket
import threading
import time
from typing import Any

import numpy as np

from diffsim_core.viewer._deformable import Deformable
from diffsim_core.viewer._encode import reach, view_distance, view_height, visible
from diffsim_core.viewer._motion import Motion, Shape
from diffsim_core.viewer._placing import followed_point, muscle_lines, place, worlds_aside
from diffsim_core.viewer._record import check_drawn
from diffsim_core.viewer._shapes import PARTS

_FRAMES_PER_SECOND = 30.0
_TEXT_PERIOD = 0.2
"""Time between updates of numbers and slider [s]."""
_CELL = 1.0
"""Side of a square of the ground's grid [m]."""
_SPEEDS = ("0.1", "0.25", "0.5", "1", "2", "4")
_OPACITY_WITH_MUSCLES = 0.35
"""Opacity of bodies of a robot with muscles."""


def check_live(port: int, host: str = "127.0.0.1", env: Any = None) -> None:
    """Raise unless a live view can be opened at this port, and shows worlds like those of ``env``.

    Raises:
        ImportError: viser is not installed.
        ValueError: the port is out of range or in use.
        TypeError: the environment has dynamics of which nothing says what is drawn.
    """
    if importlib.util.find_spec("viser") is None:
        raise ImportError("the live view needs viser, which is not installed: pip install 'diffsim-core[live]'")
    if not 0 < port < 2**16:
        raise ValueError(f"port is {port}; give one from 1 to {2**16 - 1}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(
                f"port {port} of {host} cannot be opened ({error.strerror}); close the program that uses it, "
                "or choose another port"
            ) from None
    if env is not None:
        check_drawn(env)


class LiveView:
    """A page at ``address`` that repeats a motion until it gets another one.

    The user can pause it, move in time, change its speed and choose the world that the camera follows, whose reward it
    draws. Worlds stand side by side.

    Args:
        port: TCP port.
        host: address of this machine; with the default only a browser on this machine can open the page.

    Raises:
        ImportError: viser is not installed.
        ValueError: the port is out of range or in use.
    """

    def __init__(self, port: int = 8080, *, host: str = "127.0.0.1") -> None:
        check_live(port, host)
        import viser

        self.address = f"http://{host}:{port}"
        self._lock = threading.RLock()
        with contextlib.redirect_stdout(io.StringIO()):  # viser prints a table
            self._server = viser.ViserServer(host=host, port=port, label="diffsim", verbose=False)
        if self._server.get_port() != port:  # another program opened it first
            self._stop()
            raise ValueError(f"port {port} of {host} is in use; choose another port")
        self._server.scene.set_up_direction("+z")
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        self._controls = _Controls(self._server.gui)
        self._stage: _Stage | None = None
        self._closing = threading.Event()
        self._player = threading.Thread(target=self._play, daemon=True)
        self._player.start()

    def show(self, motion: Motion, note: str = "") -> None:
        """Play a motion from its first frame; ``note`` stands next to its name."""
        with self._lock:
            if self._stage is not None and self._stage.fits(motion):
                self._stage.motion = motion
            else:
                self._server.scene.reset()
                self._stage = _Stage(self._server, motion)
            self._controls.begin(motion, note)

    def say(self, text: str) -> None:
        """Set the line of Markdown above the controls."""
        self._controls.note.content = text

    def plot(self, name: str, x: Any, y: Any) -> None:
        """Draw a curve below the controls, ``y`` over ``x``; it replaces one of the same name."""
        self._controls.plot(name, np.asarray(x, float), np.asarray(y, float))

    def close(self) -> None:
        """Stop the server; open pages keep their last picture."""
        self._closing.set()
        self._player.join()
        self._stop()

    def _stop(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def _play(self) -> None:
        before = time.monotonic()
        while not self._closing.wait(1.0 / _FRAMES_PER_SECOND):
            now = time.monotonic()
            with self._lock:
                if self._stage is not None:
                    self._controls.advance(now - before)
                    if self._server.get_clients():
                        chosen = self._controls.world if self._controls.follow.value else None
                        self._stage.draw(self._controls.frame, chosen)
            before = now


class _Controls:
    """The controls of the page, and the current time of the motion."""

    def __init__(self, gui: Any) -> None:
        self._gui = gui
        self._motion: Motion | None = None
        self._time = 0.0
        self._text_age = -1.0
        self._drawn_world = -1
        self._plots: dict[str, Any] = {}
        self.note = gui.add_markdown("")
        self._numbers = gui.add_markdown("waiting for something to show")
        self._playing = gui.add_checkbox("play", True)
        self._slider = gui.add_slider("time [s]", 0.0, 1.0, 0.001, 0.0)
        self._speed = gui.add_dropdown("speed", _SPEEDS, initial_value="1")
        self._world = gui.add_dropdown("world", ("0",), initial_value="0")
        self.follow = gui.add_checkbox("follow", True)
        self._slider.on_update(self._on_slider)

    @property
    def world(self) -> int:
        return int(self._world.value)

    @property
    def frame(self) -> int:
        assert self._motion is not None
        return min(int(self._time / self._motion.dt), self._motion.num_frames - 1)

    def begin(self, motion: Motion, note: str) -> None:
        self._motion, self._time, self._text_age, self._drawn_world = motion, 0.0, -1.0, -1
        self.note.content = f"**{motion.name}** {note}"
        self._slider.max = max(motion.seconds, motion.dt)
        worlds = tuple(str(k) for k in range(motion.num_worlds))
        if worlds != tuple(self._world.options):
            self._world.options = worlds

    def advance(self, seconds: float) -> None:
        motion = self._motion
        assert motion is not None
        if self._playing.value:
            self._time += seconds * float(self._speed.value)
            if self._time > motion.num_frames * motion.dt:
                self._time = 0.0
        self._text_age += seconds
        if self._text_age < 0 or self._text_age >= _TEXT_PERIOD:
            self._text_age = 0.0
            self._update_text(motion)

    def plot(self, name: str, x: Any, y: Any) -> None:
        from viser import uplot

        if len(x) < 2:
            return
        if name in self._plots:
            self._plots[name].data = (x, y)
            return
        series = (uplot.Series(label=""), uplot.Series(label=name, stroke="#0b62c4", width=2))
        scales = {"x": uplot.Scale(time=False, auto=True), "y": uplot.Scale(auto=True)}
        legend = uplot.Legend(show=False)
        self._plots[name] = self._gui.add_uplot((x, y), series, title=name, scales=scales, legend=legend, aspect=1.8)

    def _update_text(self, motion: Motion) -> None:
        frame, world = self.frame, self.world
        self._slider.value = min(self._time, float(self._slider.max))
        text = f"{frame * motion.dt:.2f} s, frame {frame} of {motion.num_frames}"
        reward = motion.curves.get("reward")
        if reward is not None:
            first = int(np.flatnonzero(motion.begins[: frame + 1, world])[-1]) if motion.begins[0, world] else 0
            total = np.nansum(reward[first : frame + 1, world])
            text += f", reward {reward[frame, world]:.2f}, return {total:.1f}"
            if world != self._drawn_world:
                self._drawn_world = world
                self.plot("reward", np.arange(motion.num_frames) * motion.dt, reward[:, world].astype(float))
        self._numbers.content = text

    def _on_slider(self, event: Any) -> None:
        if event.client is not None:  # by a user, not by the player
            self._time = float(self._slider.value)


class _Stage:
    """The objects of the scene, moved along the motion."""

    def __init__(self, server: Any, motion: Motion) -> None:
        self._server, self.motion = server, motion
        self._aside = worlds_aside(motion)
        self._muscles: Any = None
        opacity = _OPACITY_WITH_MUSCLES if motion.muscles.names else None
        scene, N = server.scene, motion.num_worlds
        self._ground: list[tuple[Any, np.ndarray[Any, Any]]] = []
        self._parts: list[tuple[Shape, Any]] = []
        for k, shape in enumerate(motion.shapes):
            name = f"/shapes/{k} {shape.name.replace('/', ' ')}"
            if shape.type == "plane":
                if shape.body < 0:
                    self._add_ground(name, shape)
                continue
            vertices, faces = _mesh(shape)
            rgba = visible(shape.rgba)
            handle = scene.add_batched_meshes_simple(
                name,
                vertices,
                faces,
                np.tile([1.0, 0.0, 0.0, 0.0], (N, 1)),
                np.zeros((N, 3)),
                batched_colors=tuple(round(255 * part) for part in rgba[:3]),
                opacity=opacity if shape.body >= 0 else None,
                lod="off",
            )
            self._parts.append((shape, handle))
        if motion.terrain is not None:
            vertices, faces = _terrain(motion.terrain)
            handle = scene.add_mesh_simple("/terrain", vertices, faces, color=(170, 178, 170), side="double")
            self._ground.append((handle, np.zeros(3)))
        if motion.muscles.names:
            points, colors = muscle_lines(motion, 0)
            self._muscles = scene.add_line_segments("/muscles", *_flat(points, colors), thickness=0.012)
        self._soft = [self._add_soft(k, body) for k, body in enumerate(motion.deformables)]
        distance = view_distance(motion) if motion.deformables else 1.5 * reach(motion) * max(1.0, 0.5 * N) + 0.5
        height = view_height(motion)
        camera = server.initial_camera
        camera.look_at, camera.position = (0.0, 0.0, height), (0.5 * distance, -distance, height + 0.4 * distance)

    def fits(self, motion: Motion) -> bool:
        """Whether its objects can show this motion too: same robot, number of worlds and level ground."""
        old = self.motion

        def parts(m: Motion) -> Any:
            soft = [(body.name, body.num_points, body.triangles.tolist()) for body in m.deformables]
            return m.shapes, m.num_worlds, m.bodies, m.muscles.names, soft

        same = parts(old) == parts(motion)
        return same and old.terrain is motion.terrain is None

    def draw(self, frame: int, followed: int | None) -> None:
        """Draw a frame; the followed world stays in place while the ground moves."""
        motion = self.motion
        centre = np.zeros(3)
        if followed is not None and followed < motion.num_worlds and (motion.bodies or motion.deformables):
            centre[:2] = followed_point(motion, frame, followed)[:2]
            centre += self._aside[followed]
        move = self._aside - centre
        with self._server.atomic():
            for shape, handle in self._parts:
                placed = place(motion, frame, shape)
                handle.batched_positions = (placed.position + move).astype(np.float32)
                handle.batched_wxyzs = placed.quaternion.astype(np.float32)
            for handle, rest in self._ground:
                handle.position = rest - (centre if motion.terrain is not None else np.fmod(centre, 10 * _CELL))
            if self._muscles is not None:
                points, colors = muscle_lines(motion, frame)
                self._muscles.points, self._muscles.colors = _flat(points + move[:, None, None], colors)
            for body, handles in zip(motion.deformables, self._soft, strict=True):
                for world, handle in enumerate(handles):
                    points = (body.position[frame, world] + move[world]).astype(np.float32)
                    setattr(handle, "vertices" if len(body.triangles) else "points", points)

    def _add_soft(self, k: int, body: Deformable) -> list[Any]:
        """A cloud of points or a mesh in each world."""
        scene, made = self._server.scene, []
        rgb = np.rint(255 * np.clip(body.rgb, 0, 1)).astype(np.uint8)
        for world, points in enumerate(body.position[0]):
            name = f"/soft/{k} {body.name.replace('/', ' ')}/{world}"
            if len(body.triangles):
                color, faces = tuple(rgb.mean(axis=0).astype(int).tolist()), body.triangles.astype(np.uint32)
                made.append(scene.add_mesh_simple(name, points, faces, color=color, side="double"))
            else:
                made.append(scene.add_point_cloud(name, points, rgb, point_size=2 * body.radius, point_shape="circle"))
        return made

    def _add_ground(self, name: str, shape: Shape) -> None:
        grid = {"infinite_grid": True, "cell_size": _CELL, "section_size": 5 * _CELL, "plane_opacity": 1.0}
        colors = {"plane_color": (226, 229, 232), "cell_color": (200, 204, 208), "section_color": (160, 166, 172)}
        handle = self._server.scene.add_grid(name, position=shape.pos, wxyz=shape.quat, **grid, **colors)
        self._ground.append((handle, np.asarray(shape.pos, float)))


def _flat(points: Any, colors: Any) -> tuple[Any, Any]:
    """Ends and colours of line segments, each ``[k, 2, 3]``."""
    both = np.repeat(colors[:, :, None], 2, axis=2)
    return points.reshape(-1, 2, 3).astype(np.float32), both.reshape(-1, 2, 3)


def _mesh(shape: Shape) -> tuple[Any, Any]:
    """Vertices and faces in the shape's own frame."""
    from trimesh import creation, util

    size = np.asarray(shape.size, float)
    made: Any
    if shape.type == "capsule":
        made = creation.capsule(height=2 * size[1], radius=size[0], count=[16, 24])
    elif shape.type == "cylinder":
        made = creation.cylinder(radius=size[0], height=2 * size[1], sections=32)
    elif shape.type in ("sphere", "ellipsoid"):
        made = creation.icosphere(subdivisions=3)
        made.apply_scale(size[0] if shape.type == "sphere" else size)
    else:
        made = util.concatenate([_unit(part.mesh, part.half, part.z) for part in PARTS[shape.type](shape.size)])
    return np.asarray(made.vertices, np.float32), np.asarray(made.faces, np.uint32)


def _unit(mesh: str, half: tuple[float, ...], z: float) -> Any:
    from trimesh import creation

    made = {
        "sphere": lambda: creation.icosphere(subdivisions=3),
        "box": lambda: creation.box(extents=(2, 2, 2)),
        "cylinder": lambda: creation.cylinder(radius=1, height=2, sections=32),
    }[mesh]()
    made.apply_scale(half)
    made.apply_translation((0, 0, z))
    return made


def _terrain(field: Any) -> tuple[Any, Any]:
    rows, columns = field.heights.shape
    x = field.origin[0] + field.spacing[0] * np.arange(columns)
    y = field.origin[1] + field.spacing[1] * np.arange(rows)
    grid = np.stack([*np.meshgrid(x, y), field.heights], axis=-1).reshape(-1, 3)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1, 1)
    faces = np.concatenate([corner + [0, 1, columns], corner + [1, columns + 1, columns]])
    return grid.astype(np.float32), faces.astype(np.uint32)
