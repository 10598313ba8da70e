"""Exported policies act as the policies they were made of, whatever the algorithm, and say what they are."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import diffsim_core
from diffrl_algos import export_run
from diffrl_algos.cli import main
from diffrl_algos.torch._export import export_policy, onnx_bytes, onnx_policy, torch_bytes, torch_policy

from .test_cli import SMALL, TOY
from .test_family import NAMES, build
from .toy import PointTask


def policy_of(name, worlds, **changes):
    """A policy after two updates, whose observation statistics are not those of the start."""
    algorithm = build(name, **changes)
    state = algorithm.init(worlds(), 0)
    for _ in range(2):
        state, _ = algorithm.update(state)
    return algorithm.policy(state)


FUNCTIONS = [name for name in NAMES if name != "trajopt"]
REPRESENTATIVES = ["sapo", "shac", "pods"]
"""One algorithm for each kind of policy: a second output for the deviation or none, a policy without any."""


def kind(policy):
    return type(policy), getattr(getattr(policy, "actor", None), "state_dependent", None)


def from_jax(data):
    """What an exported program of JAX computes, as a function of tensors."""
    pytest.importorskip("flax")
    from diffrl_algos.jax._export import jax_policy

    act = jax_policy(data)
    return lambda obs: torch.from_numpy(act(obs.numpy()))


def assert_same_actions(policy, act):
    rng = torch.Generator().manual_seed(0)
    for size in (1, 5, 256):
        obs = 3.0 * torch.randn(size, 2, generator=rng)
        wanted = policy(obs)
        assert act(obs).shape == (size, 1) and act(obs).dtype == torch.float32
        torch.testing.assert_close(act(obs), wanted, rtol=0, atol=2e-6)
    assert wanted.std() > 1e-3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_actions(worlds, name):
    policy = policy_of(name, worlds)
    assert_same_actions(policy, torch_policy(torch_bytes(export_policy(policy, 2), {})))
    assert kind(policy) in {kind(build(one).policy(build(one).init(worlds(), 0))) for one in REPRESENTATIVES}


ALL = [pytest.param(name, marks=[] if name in REPRESENTATIVES else pytest.mark.slow) for name in FUNCTIONS]


@pytest.mark.parametrize("name", ALL)
def test_the_same_actions_in_onnxruntime(worlds, name):
    policy = policy_of(name, worlds)
    assert_same_actions(policy, onnx_policy(onnx_bytes(export_policy(policy, 2), {}, 2)))


@pytest.mark.parametrize("name", ["shac", "sapo", "pods"])
def test_the_same_actions_in_jax(worlds, name, monkeypatch):
    """With the statistics and their bound, for any number of worlds, on processors and GPUs, and without pickle."""
    export = pytest.importorskip("jax.export")
    pytest.importorskip("flax")
    from diffrl_algos.jax._export import jax_bytes
    from diffrl_algos.jax._from_torch import in_jax

    policy = policy_of(name, worlds, **({"obs_clip": 1.0} if name == "shac" else {}))
    data = jax_bytes(in_jax(policy), 2)
    for reader in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, reader, None)
    program = export.deserialize(bytearray(data))
    assert program.platforms == ("cpu", "cuda") and program.calling_convention_version > 0
    assert_same_actions(policy, lambda obs: torch.from_numpy(np.array(program.call(obs.numpy()))))


def test_actions_are_clipped():
    act = torch_policy(torch_bytes(export_policy(lambda obs: 5.0 * obs, 2), {}))
    obs = torch.tensor([[0.1, -3.0], [7.0, 0.0]])
    assert torch.equal(act(obs), torch.tensor([[0.5, -1.0], [1.0, 0.0]]))


def test_what_is_no_function_of_the_observation_is_refused(worlds):
    algorithm = build("shac")
    state = algorithm.init(worlds(), 0)
    with pytest.raises(ValueError, match="draws random numbers; export the deterministic one"):
        export_policy(algorithm.policy(state, deterministic=False), 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "run"
    small = [*SMALL, "--iterations", "4", "--checkpoint-every", "2", "--import", TOY]
    assert main(["train", "sapo", "toy", *small, "--out", str(path)]) == 0
    return path


def test_export_to_onnx(run, tmp_path, capfd):
    out = tmp_path / "policy.onnx"
    assert main(["export", str(run), "--format", "onnx", "--out", str(out), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["max_abs_error"] < 1e-6 and said["bytes"] == out.stat().st_size and said["file"] == str(out)
    onnx.checker.check_model(onnx.load(out), full_check=True)
    session = onnxruntime.InferenceSession(out)
    (obs,), (action,) = session.get_inputs(), session.get_outputs()
    assert (obs.name, obs.type, obs.shape[1:]) == ("obs", "tensor(float)", [2])
    assert (action.name, action.type, action.shape[1:]) == ("action", "tensor(float)", [1])
    assert isinstance(obs.shape[0], str) and obs.shape[0] == action.shape[0]
    about = json.loads(session.get_modelmeta().custom_metadata_map["policy"])
    assert about.items() <= said.items()
    assert about["format"] == "diffrl-policy-1" and about["task_options"] == {"fused": True, "horizon": 6}
    assert (about["algorithm"], about["task"], about["iteration"], about["env_steps"]) == ("sapo", "toy", 4, 48)
    assert (about["num_obs"], about["num_actions"], about["dt"], about["deterministic"]) == (2, 1, 0.1, True)
    assert about["versions"].keys() >= {"python", "torch", "diffrl-algos"}


def test_export_to_torch(run, tmp_path):
    out = tmp_path / "policy.pt2"
    said = export_run(run, out, form="torch", which="2")
    assert said["iteration"] == 2 and said["max_abs_error"] == 0.0
    files = {"policy.json": ""}
    policy = torch.export.load(out, extra_files=files).module()
    assert json.loads(files["policy.json"])["iteration"] == 2
    assert policy(torch.zeros(3, 2)).shape == (3, 1)
    # Nothing in it is a pickle: protocol 2 and up begin with these bytes.
    with zipfile.ZipFile(out) as parts:
        assert not any(parts.read(name).startswith(b"\x80") for name in parts.namelist() if "tensor" not in name)
        assert [parts.getinfo(name).file_size for name in parts.namelist() if name.endswith(".pt")] == [0]


def test_an_exported_policy_earns_what_the_run_says(run, worlds, tmp_path):
    """The whole way: onnxruntime and NumPy in the environment, against the evaluation that ended the run."""
    from diffrl_algos import evaluate

    out = tmp_path / "policy.onnx"
    export_run(run, out)
    session = onnxruntime.InferenceSession(out)
    env = diffsim_core.make("toy", num_envs=5, horizon=6)
    summary = json.loads((run / "summary.json").read_text())
    found = evaluate(
        env,
        lambda obs: torch.from_numpy(session.run(None, {"obs": obs.numpy()})[0]),
        episodes=5,
        seed=summary["eval_seed"],
    )
    np.testing.assert_allclose(found.return_mean, summary["return_mean"], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "coreml"], "unknown format 'coreml'; known: jax, onnx, torch"),
        (["--format", "onxx"], "did you mean onnx?"),
        (["--actions", "controls"], "unknown kind of actions 'controls'; did you mean control?"),
        (["--checkpoint", "3"], "has no checkpoint '3'; there are last, best, 2, 4"),
        (["--out", "nowhere/policy.onnx"], "nowhere is not a folder"),
    ],
)
def test_bad_input(run, tmp_path, monkeypatch, capfd, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), "--out", "policy.onnx", *arguments]) == 2
    err = capfd.readouterr().err
    assert words in err and len([line for line in err.splitlines() if line.startswith("diffrl: ")]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["jax", "flax"])
def test_without_jax_the_error_names_the_extra(run, tmp_path, monkeypatch, capfd, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["export", str(run), "--format", "jax", "--out", str(tmp_path / "policy.jax")]) == 2
    assert f"{missing} is not installed; pip install 'diffrl-algos[jax]'" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(run, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", str(run), "--out", str(tmp_path / "policy.onnx")]) == 2
    assert "onnxscript is not installed; pip install 'diffrl-algos[export]'" in capfd.readouterr().err
    # The other format needs nothing.
    assert main(["export", str(run), "--format", "torch", "--out", str(tmp_path / "policy.pt2")]) == 0


def test_a_policy_that_acts_differently_is_not_written(run, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("diffrl_algos.torch._export.torch_policy", lambda data: lambda obs: torch.zeros(len(obs), 1))
    out = tmp_path / "policy.pt2"
    assert main(["export", str(run), "--format", "torch", "--out", str(out)]) == 2
    assert "differs from the run's by" in capfd.readouterr().err and not out.exists()


def test_an_open_loop_policy_is_refused(tmp_path, capfd):
    path = tmp_path / "run"
    assert (
        main(["train", "trajopt", "toy", "--iterations", "1", "--num-envs", "2", "--out", str(path), "--import", TOY])
        == 0
    )
    assert main(["export", str(path), "--out", str(tmp_path / "policy.onnx")]) == 2
    assert "trajopt: the policy remembers how far an episode has gone" in capfd.readouterr().err


def test_a_policy_of_several_arrays_takes_them_in_one_vector(tmp_path, capfd):
    path = tmp_path / "run"
    short = [
        "--iterations",
        "1",
        "--num-envs",
        "2",
        "--horizon",
        "2",
        "--critic-iterations",
        "1",
        "--eval-episodes",
        "1",
    ]
    assert main(["train", "sapo", "beacon", *short, "--out", str(path)]) == 0
    capfd.readouterr()
    assert main(["export", str(path), "--out", str(tmp_path / "policy.onnx"), "--json"]) == 0
    about = json.loads(capfd.readouterr().out)
    assert about["obs_arrays"] == [["state", [2]], ["points", [8, 3]]] and about["max_abs_error"] < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    assert session.run(["action"], {"obs": np.zeros((3, 26), np.float32)})[0].shape == (3, 1)
    pytest.importorskip("flax")
    assert main(["export", str(path), "--format", "jax", "--out", str(tmp_path / "policy.jax")]) == 2
    assert "sapo: the policy has an encoder" in capfd.readouterr().err and not (tmp_path / "policy.jax").exists()


class Driven(PointTask):
    """The point mass, whose motor takes 3 N to 8 N."""

    control_range = ((3.0, 8.0),)

    def control(self, xp, action):
        return (5.5 + 2.5 * action,)


@pytest.fixture
def driven(tmp_path):
    """A run of two updates in worlds that say what their actions stand for."""
    if "driven" not in diffsim_core.list_tasks():

        def make_task(*, num_envs, device, dtype, horizon=20):
            return Driven(dtype, 2.0, horizon, 1e6)

        diffsim_core.register_task("driven", make_task)
    path = tmp_path / "run"
    assert main(["train", "shac", "driven", *SMALL, "--iterations", "2", "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize("form", ["onnx", "torch", "jax"])
def test_controls_are_the_policys_actions_in_their_units(driven, tmp_path, capfd, form):
    read = {"onnx": onnx_policy, "torch": torch_policy, "jax": from_jax}[form]
    found = {}
    for actions in ("unit", "control"):
        out = tmp_path / actions
        capfd.readouterr()
        arguments = ["export", str(driven), "--format", form, "--actions", actions, "--out", str(out), "--json"]
        assert main(arguments) == 0
        found[actions] = json.loads(capfd.readouterr().out), read(out.read_bytes())
    env = diffsim_core.make("driven", num_envs=8)
    obs = 100.0 * torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
    (unit, act), (control, drive) = found["unit"], found["control"]
    (expected,) = env.task.control(torch, act(obs))
    torch.testing.assert_close(drive(obs), expected, rtol=0, atol=1e-5)
    assert drive(obs).min() >= 3.0 and drive(obs).max() <= 8.0 and drive(obs).std() > 0.1
    assert unit["control_range"] == control["control_range"] == [[3.0, 8.0]]
    for about, low, high in ((unit, [-1.0], [1.0]), (control, [3.0], [8.0])):
        assert (about["action_low"], about["action_high"]) == (low, high) and about["max_abs_error"] < 1e-6
    assert (unit["actions"], control["actions"]) == ("unit", "control")


def test_rounding_does_not_exceed_the_bounds():
    limits = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)).sort(1).values
    program = export_policy(lambda obs: 5.0 * obs, 100, control_range=limits.tolist())
    obs = torch.tensor([[-1.0], [0.0], [1.0]]).expand(3, 100)
    controls = torch_policy(torch_bytes(program, {}))(obs)
    assert (controls >= limits[:, 0]).all() and (controls <= limits[:, 1]).all()
    expected = torch.stack([limits[:, 0], limits.mean(1), limits[:, 1]])
    torch.testing.assert_close(controls, expected, rtol=0, atol=1e-6)


def test_controls_of_unknown_range_are_refused(run, tmp_path, capfd):
    out = tmp_path / "policy.pt2"
    assert main(["export", str(run), "--format", "torch", "--actions", "control", "--out", str(out)]) == 2
    assert "task toy does not say what its actions stand for" in capfd.readouterr().err and not out.exists()
