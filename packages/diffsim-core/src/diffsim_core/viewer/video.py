"""Pictures and videos of a motion, drawn by MuJoCo's renderer with OpenGL, without a screen."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffsim_core._nearest import unknown
from diffsim_core.io._mujoco import mujoco
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.viewer._encode import newtons_per_metre, view_distance, view_height
from diffsim_core.viewer._motion import FloatArray, Motion, Shape
from diffsim_core.viewer._placing import followed_point
from diffsim_core.viewer._shapes import PARTS

_PLATFORMS = ("egl", "osmesa", "glfw")
"""Ways to OpenGL, in the order they are tried; the environment variable MUJOCO_GL names one."""
_OWN_GEOMS = ("sphere", "capsule", "box", "cylinder", "ellipsoid")
"""Types of shapes that MuJoCo draws itself; the others are drawn in parts."""
_ARROW_WIDTH = 0.02
_RELAXED, _TENSE = np.array([0.86, 0.72, 0.66]), np.array([0.78, 0.06, 0.06])
SUFFIXES = (".gif", ".mp4")


class _View(NamedTuple):
    azimuth: float
    elevation: float
    distance: float


def write_video(
    motion: Motion,
    path: str | Path,
    *,
    world: int = 0,
    width: int = 640,
    height: int = 480,
    speed: float = 1.0,
    fps: int = 30,
    **view: Any,
) -> Path:
    """Write one world's motion as an animated ``.gif`` or as an ``.mp4`` (H.264).

    Args:
        motion: the motion.
        path: file to write; its suffix sets the format.
        world: index of the world.
        width: width of the pictures in pixels.
        height: height of the pictures in pixels.
        speed: playback speed; 0.25 is a quarter of real time.
        fps: pictures per second.
        view: ``azimuth``, ``elevation``, ``distance``, ``shade`` of :func:`render`.

    Raises:
        ImportError: imageio is not installed; the message names the extra.
        RuntimeError: OpenGL is not available.
        ValueError: the suffix is neither, or a number is out of range.
        OSError: the file cannot be written.
    """
    path = Path(path)
    check_video(path)
    if not speed > 0 or fps < 1:
        raise ValueError(f"speed={speed}, fps={fps}: both must be positive")
    import imageio.v3 as iio

    time = np.arange(0, motion.num_frames, speed / (fps * motion.dt))
    frames = render(motion, [int(t) for t in time], world=world, width=width, height=height, **view)
    if path.suffix == ".gif":
        iio.imwrite(path, list(frames), extension=".gif", duration=1000 / fps, loop=0)
        return path
    options: dict[str, Any] = {"plugin": "FFMPEG", "fps": fps, "macro_block_size": 2, "ffmpeg_log_level": "error"}
    iio.imwrite(path, list(frames), **options)
    return path


def check_video(path: Path) -> None:
    """Raise the errors of ``write_video`` for this path, before a rollout."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is to be a {path.suffix or 'file without a suffix'}; use {' or '.join(SUFFIXES)}")
    if importlib.util.find_spec("imageio") is None:
        raise ImportError("videos need imageio, which is not installed: pip install 'diffsim-core[video]'")
    with _context(8, 8):
        pass


def render(
    motion: Motion,
    frames: list[int],
    *,
    world: int = 0,
    width: int = 640,
    height: int = 480,
    azimuth: float = 120.0,
    elevation: float = -15.0,
    distance: float | None = None,
    shade: str | None = None,
) -> Iterator[Any]:
    """Pictures ``[height, width, 3]`` uint8 of some frames, with contact forces as arrows and coloured muscles.

    Args:
        motion: the motion.
        frames: indices of the frames.
        world: index of the world.
        width: width of the pictures in pixels.
        height: height of the pictures in pixels.
        azimuth: azimuth of the camera in MuJoCo's convention [degrees].
        elevation: elevation of its line of sight, negative downwards [degrees].
        distance: distance of the camera [m]; by default the robot or the soft bodies fill the picture.
        shade: numbers that colour soft bodies, such as ``"strain"``; by default their own colours.

    Raises:
        RuntimeError: OpenGL is not available; the message lists what was tried, and what to do.
        ValueError: a frame, world or shade does not exist, or the size is out of range.
    """
    if not 0 <= world < motion.num_worlds:
        raise ValueError(f"world={world}: the motion has {motion.num_worlds} worlds; give an index from 0")
    if not all(0 <= frame < motion.num_frames for frame in frames):
        raise ValueError(f"frames={frames}: the motion has {motion.num_frames} frames; give indices from 0")
    if not (0 < width <= 4096 and 0 < height <= 4096):
        raise ValueError(f"width={width}, height={height}: give from 1 to 4096 pixels")
    one = motion.select(worlds=[world])
    view = _View(azimuth, elevation, view_distance(one) if distance is None else distance)
    known = {name for body in motion.deformables for name in body.shades}
    if shade is not None and shade not in known:
        raise ValueError(unknown("shade", shade, known))
    return _render(one, frames, width, height, view, shade)


def _render(
    motion: Motion, frames: list[int], width: int, height: int, view: _View, shade: str | None
) -> Iterator[Any]:
    model = _stage(motion, width, height)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    shapes = sum(len(_geoms(shape)) for shape in motion.shapes) + len(motion.muscles.muscle)
    shapes += sum(len(body.triangles) or body.num_points for body in motion.deformables)
    scene = mujoco.MjvScene(model, maxgeom=shapes + len(motion.contacts.frame) + 16)
    option, camera = mujoco.MjvOption(), mujoco.MjvCamera()
    camera.azimuth, camera.elevation, camera.distance = view
    middle_height = view_height(motion)
    metre = newtons_per_metre(motion)
    with _context(width, height):
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        window = mujoco.MjrRect(0, 0, width, height)
        for frame in frames:
            camera.lookat[:] = [*followed_point(motion, frame, 0)[:2], middle_height]
            mujoco.mjv_updateScene(model, data, option, None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene)
            _put_shapes(scene, motion, frame)
            _put_deformables(scene, motion, frame, shade)
            _put_muscles(scene, motion, frame)
            _put_contacts(scene, motion, frame, metre)
            mujoco.mjr_render(window, scene, context)
            picture = np.empty((height, width, 3), np.uint8)
            mujoco.mjr_readPixels(picture, None, window, context)
            yield picture[::-1].copy()
        context.free()


def _stage(motion: Motion, width: int, height: int) -> Any:
    """Light, sky and ground; moving shapes are added for each frame."""
    spec = mujoco.MjSpec()
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    if motion.deformables:  # of thousands of balls, each is a few pixels wide
        spec.visual.quality.numslices, spec.visual.quality.numstacks = 14, 8
    sky = spec.add_texture(name="sky", width=256, height=256)
    sky.type, sky.builtin = mujoco.mjtTexture.mjTEXTURE_SKYBOX, mujoco.mjtBuiltin.mjBUILTIN_GRADIENT
    sky.rgb1, sky.rgb2 = [0.93, 0.95, 0.97], [0.75, 0.8, 0.86]
    tiles = spec.add_texture(name="tiles", width=256, height=256)
    tiles.type, tiles.builtin = mujoco.mjtTexture.mjTEXTURE_2D, mujoco.mjtBuiltin.mjBUILTIN_CHECKER
    tiles.rgb1, tiles.rgb2 = [0.83, 0.85, 0.87], [0.9, 0.91, 0.92]
    material = spec.add_material(name="tiles", texrepeat=[1, 1], texuniform=True)
    material.textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = "tiles"
    world = spec.worldbody
    world.add_light(pos=[0, 0, 30], dir=[0.35, 0.3, -1], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    for shape in motion.shapes:
        if shape.type == "plane" and shape.body < 0:
            size = [0, 0, 1]
            kind = mujoco.mjtGeom.mjGEOM_PLANE
            world.add_geom(type=kind, pos=list(shape.pos), quat=list(shape.quat), size=size, material="tiles")
    if motion.terrain is not None:
        _add_terrain(spec, motion)
    return spec.compile()


def _add_terrain(spec: Any, motion: Motion) -> None:
    field = motion.terrain
    assert field is not None
    ny, nx = field.heights.shape
    low, high = float(field.heights.min()), float(field.heights.max())
    half = (np.array([nx, ny]) - 1) * field.spacing / 2
    size = [*half, max(high - low, 1e-6), 1.0]
    unit = (field.heights - low) / max(high - low, 1e-6)
    spec.add_hfield(name="terrain", nrow=ny, ncol=nx, size=size, userdata=unit.ravel().tolist())
    kind, pos = mujoco.mjtGeom.mjGEOM_HFIELD, [*(field.origin + half), low]
    spec.worldbody.add_geom(type=kind, hfieldname="terrain", pos=pos, rgba=[0.75, 0.77, 0.8, 1])


def _new_geom(scene: Any) -> Any:
    scene.ngeom += 1
    return scene.geoms[scene.ngeom - 1]


def _put_shapes(scene: Any, motion: Motion, frame: int) -> None:
    for shape in motion.shapes:
        pos, quat = np.array(shape.pos), np.array(shape.quat)
        if shape.body >= 0:
            body = motion.quaternion[frame, 0, shape.body].astype(np.float64)
            body /= np.linalg.norm(body)
            pos, quat = motion.position[frame, 0, shape.body] + rotation(body) @ pos, quat_mul(body, quat)
        axes = rotation(quat / np.linalg.norm(quat))
        rgba = np.array(shape.rgba, dtype=np.float32)
        for name, size, z in _geoms(shape):
            kind = getattr(mujoco.mjtGeom, f"mjGEOM_{name.upper()}")
            mujoco.mjv_initGeom(_new_geom(scene), kind, np.array(size), pos + z * axes[:, 2], axes.ravel(), rgba)


def _put_deformables(scene: Any, motion: Motion, frame: int, shade: str | None) -> None:
    for body in motion.deformables:
        points = body.position[frame, 0].astype(np.float64)
        shaded = shade if shade in body.shades else None
        rgba = np.ones((body.num_points, 4), np.float32)
        rgba[:, :3] = body.colors(frame, shaded)[0]
        if not len(body.triangles):
            size, axes = np.full(3, body.radius), np.eye(3).ravel()
            for point, color in zip(points, rgba, strict=True):
                mujoco.mjv_initGeom(_new_geom(scene), mujoco.mjtGeom.mjGEOM_SPHERE, size, point, axes, color)
            continue
        # MuJoCo's triangle has its corners at the origin and at the ends of the first two axes
        corners = points[body.triangles]
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        normal = np.cross(first, second)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        axes = np.stack([first, second, normal], axis=2).reshape(-1, 9)
        colors = rgba[body.triangles].mean(axis=1)
        for corner, frame_axes, color in zip(corners[:, 0], axes, colors, strict=True):
            mujoco.mjv_initGeom(_new_geom(scene), mujoco.mjtGeom.mjGEOM_TRIANGLE, np.ones(3), corner, frame_axes, color)


def _geoms(shape: Shape) -> list[tuple[str, tuple[float, ...], float]]:
    """What MuJoCo draws of a shape: type and size of each geom, and its place along the shape's axis."""
    if shape.type in _OWN_GEOMS:
        return [(shape.type, shape.size, 0.0)]
    geoms = []
    for mesh, half, z in PARTS[shape.type](shape.size):
        name = "ellipsoid" if mesh == "sphere" else mesh
        geoms.append((name, (half[0], half[2], 0.0) if mesh == "cylinder" else half, z))
    return geoms


def _line(scene: Any, kind: Any, width: float, ends: tuple[FloatArray, FloatArray], rgb: Any) -> None:
    geom = _new_geom(scene)
    mujoco.mjv_initGeom(geom, kind, np.zeros(3), np.zeros(3), np.eye(3).ravel(), np.array([*rgb, 1], dtype=np.float32))
    mujoco.mjv_connector(geom, kind, width, *ends)


def _put_muscles(scene: Any, motion: Motion, frame: int) -> None:
    muscles = motion.muscles
    for muscle, bodies, ends in zip(muscles.muscle, muscles.body, muscles.pos, strict=True):
        points = []
        for body, pos in zip(bodies, ends, strict=True):
            turn = rotation(motion.quaternion[frame, 0, body].astype(np.float64)) if body >= 0 else np.eye(3)
            origin = motion.position[frame, 0, body] if body >= 0 else np.zeros(3)
            points.append(origin + turn @ pos)
        active = motion.activation[frame, 0, muscle]
        width = 0.5 * float(muscles.width[muscle])
        rgb = _RELAXED + active * (_TENSE - _RELAXED)
        _line(scene, mujoco.mjtGeom.mjGEOM_CAPSULE, width, (points[0], points[1]), rgb)


def _put_contacts(scene: Any, motion: Motion, frame: int, newtons: float) -> None:
    contacts = motion.contacts
    for k in range(*np.searchsorted(contacts.frame, [frame, frame + 1])):
        start = contacts.point[k].astype(np.float64)
        end = start + contacts.force[k] / newtons
        _line(scene, mujoco.mjtGeom.mjGEOM_ARROW, _ARROW_WIDTH, (start, end), (0.15, 0.65, 1))


@contextlib.contextmanager
def _context(width: int, height: int) -> Iterator[None]:
    """Make an OpenGL context current, without a screen."""
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    reasons = []
    for name in (wanted,) if wanted in _PLATFORMS else _PLATFORMS:
        try:
            context = importlib.import_module(f"mujoco.{name}").GLContext(width, height)
            context.make_current()
        except Exception as error:
            # each platform's binding raises its own errors, even AttributeError where a library is missing
            reasons.append(f"{name}: {error}")
            continue
        try:
            yield
        finally:
            context.free()
        return
    tried = "; ".join(reasons)
    raise RuntimeError(
        f"no OpenGL to draw with ({tried}): install Mesa's EGL (libegl1) or OSMesa (libosmesa6), "
        "or write an HTML page, which draws in the browser"
    )
