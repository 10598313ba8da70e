"""Scenes are what the environment did, and the views show them."""

from __future__ import annotations

import json
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch

import diffsim_traffic
from diffsim_core.viewer import film, record, write_page
from diffsim_traffic import Road, Scene, TrafficModel, plot_space_time, plot_speeds, record_scene, write_html

from .test_tasks import make

mpl.use("Agg")


def coast(obs):
    return torch.zeros(len(obs), 2)


def test_a_scene_is_one_world_until_its_episode_ends():
    env = make("pace_car_2", 3)
    scene = record_scene(env, coast, world=1, seed=4)
    state, _ = env.reset(4)
    for row in range(len(scene.x)):
        assert np.array_equal(scene.x[row], state.physics.x[1].numpy()) and np.array_equal(
            scene.v[row], state.physics.v[1]
        )
        state, transition = env.step(state, torch.zeros(3, 2))
    assert transition.terminated[1] and state.episode[1] == 1  # the last row led to the end
    assert scene.times[-1] == pytest.approx((len(scene.x) - 1) * 0.1)
    assert scene.lanes()[0].tolist() == [int(scene.y[0, 0] // 4), 0, 0, 1, 1]
    assert len(record_scene(env, coast, 7, world=2).x) == 8


def test_scenes_that_make_no_sense_are_refused():
    env = make("pace_car_1", 2)
    with pytest.raises(ValueError, match="world=2 must be from 0 to 1"):
        record_scene(env, coast, world=2)
    with pytest.raises(ValueError, match="num_steps=0"):
        record_scene(env, coast, 0)
    model = TrafficModel(road=Road(), drivers_per_lane=(1,))
    with pytest.raises(ValueError, match=r"psi has shape \(3, 2\); expected \(3, 1\)"):
        Scene(model=model, dt=0.1, x=np.zeros((3, 2)), v=np.zeros((3, 2)), y=np.zeros((3, 1)), psi=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="needs at least 2"):
        Scene(model=model, dt=0.1, x=np.zeros((1, 2)), v=np.zeros((1, 2)), y=np.zeros((1, 1)), psi=np.zeros((1, 1)))


def some_scene(ring=None):
    model = TrafficModel(road=Road(num_lanes=2, circumference=ring), drivers_per_lane=(2, 1))
    t = np.arange(50)[:, None] * 0.1
    v = np.broadcast_to([10.0, 8.0, 8.0, 5.0], (50, 4))
    return Scene(model=model, dt=0.1, x=[60, 40, 20, 30] + v * t, v=v, y=2 + t[:, :1], psi=0 * t)


def test_the_page_holds_the_scene_and_stands_alone(tmp_path):
    scene = some_scene(ring=100.0)
    page = write_html(scene, tmp_path / "scene.html", title="</script><b>").read_text(encoding="utf-8")
    found = re.search(r"const all = (.*);\n", page)
    assert found is not None
    data = json.loads(found[1])
    assert data["title"] == "</script><b>" and page.count("</script>") == 1
    (only,) = data["scenes"]
    np.testing.assert_allclose(only["x"], scene.x, atol=0.0051)
    np.testing.assert_allclose(only["y"], scene.lateral(), atol=0.0051)
    assert (data["lanes"], data["ring"], data["controlled"], only["length"]) == (2, 100.0, 1, [5.0] * 4)
    assert "http" not in page.replace(found[0], "")


def test_a_page_of_a_recording_has_every_episode_of_every_world(tmp_path):
    env = make("pace_car_2", 3, episode_length=6)
    footage = film(env, coast, episodes=2, worlds=2)
    write_page(env, footage, tmp_path / "page.html")
    data = json.loads(re.search(r"const all = (.*);\n", (tmp_path / "page.html").read_text())[1])
    assert data["title"] == env.spec.name and data["dt"] == env.spec.dt
    names = [f"world {w}, episode {e}" for w in range(2) for e in range(2)]
    assert [one["name"] for one in data["scenes"]] == names
    np.testing.assert_allclose(data["scenes"][3]["x"], footage.physics.x[6:, 1], atol=0.0051)
    alone = footage._replace(begins=np.ones_like(footage.begins))
    with pytest.raises(ValueError, match="no episode has two frames"):
        write_page(env, alone, tmp_path / "page.html")
    with pytest.raises(TypeError, match="only rigid bodies"):
        record(env, coast)


def test_scenes_of_one_page_are_of_one_road(tmp_path):
    with pytest.raises(ValueError, match="scene 'b' has another road"):
        write_html({"a": some_scene(), "b": some_scene(ring=100.0)}, tmp_path / "page.html")
    with pytest.raises(ValueError, match="at least one"):
        write_html({}, tmp_path / "page.html")


def test_a_space_time_diagram_draws_every_way_once():
    ax = plot_space_time(some_scene())
    drivers, own = ax.collections[:2]
    assert len(drivers.get_segments()) == 49 * 3 and len(own.get_segments()) == 49
    first = drivers.get_segments()[0]
    np.testing.assert_allclose(first, [[0, 40], [0.1, 40.8]])
    in_lane = plot_space_time(some_scene(), lane=1)
    assert len(in_lane.collections[0].get_segments()) == 49
    assert len(in_lane.collections[1].get_segments()) == 39  # the vehicle under control then leaves the road
    closed = plot_space_time(some_scene(ring=44.0))
    assert all(abs(np.diff(segment[:, 1])) < 22 for segment in closed.collections[0].get_segments())
    with pytest.raises(ValueError, match="lane=2 must be from 0 to 1"):
        plot_space_time(some_scene(), lane=2)


def test_histograms_hold_all_speeds_of_drivers():
    ax = plot_speeds({"a": some_scene(), "b": some_scene()}, target=7.0)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["a, mean 7.0", "b, mean 7.0", "target 7"]
    (outline, _) = ax.patches
    area = outline.get_path().to_polygons()[0]
    x, y = area.T
    assert abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2 == pytest.approx(1.0)  # a density
    with pytest.raises(ValueError, match="one has no drivers"):
        plot_speeds({})


def test_importing_is_light():
    import subprocess
    import sys

    code = "import sys, diffsim_traffic; print([m for m in ('torch', 'jax', 'warp', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
    assert set(diffsim_traffic._LAZY) <= set(dir(diffsim_traffic))
