"""Newton's models as dynamics: gradients against differences, our engine beside Newton's, promises, refusals."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
newton = pytest.importorskip("newton")

import warp as wp  # noqa: E402

from diffsim_core import TaskEnv, make, to_numpy  # noqa: E402
from diffsim_core.adapters import NewtonDynamics, NewtonState  # noqa: E402
from diffsim_core.adapters._newton_model import check_model  # noqa: E402
from diffsim_core.check import check_env  # noqa: E402
from diffsim_core.tasks.newton import NewtonTask  # noqa: E402

from .newton_models import ant_state, ant_worlds, as_newton_does, box_on, compare, moved  # noqa: E402

DT = 8 / 960


def test_ant_in_contact_within_a_thousandth_where_newtons_own_gradient_is_not():
    """8 sub-steps, legs on the ground; every coordinate, velocity and joint force, the root's included."""
    dynamics = NewtonDynamics(ant_worlds(4), dt=DT, substeps=8)
    q, qd, force = ant_state(4, height=0.45)
    inputs = [q, 0.2 * qd, force * (np.arange(14) >= 6)]
    compared = compare(dynamics, inputs, [1e-4, 1e-3, 1.0], times=(1.0, 3.0, 9.0))
    assert compared.clear.sum() >= 3
    assert max(compared.error()) < 1e-3
    for one_solver in (True, False):
        assert compared.error(as_newton_does(dynamics, inputs, one_solver=one_solver))[0] > 0.5


def test_ant_in_flight_needs_a_solver_for_each_sub_step():
    dynamics = NewtonDynamics(ant_worlds(2), dt=DT, substeps=8)
    q, qd, force = ant_state(2, height=1.5)
    inputs = [q, qd, force]
    compared = compare(dynamics, inputs, [3e-3, 3e-2, 30.0])
    assert compared.clear.all()
    assert max(compared.error()) < 1e-3
    inputs[2] = force * (np.arange(14) >= 6)  # without forces on the root, only the shared arrays are wrong
    compared = compare(dynamics, inputs, [3e-3, 3e-2, 30.0])
    each, one = (compared.error(as_newton_does(dynamics, inputs, one_solver=shared)) for shared in (False, True))
    assert max(each) < 1e-3
    assert one[0] > 10 * each[0] and one[2] > 100 * each[2]


@pytest.mark.parametrize(
    ("solver", "joint"),
    [("featherstone", j) for j in ("prismatic", "revolute", "d6", "ball", "free", "fixed")]
    + [("semi_implicit", j) for j in ("revolute", "d6", "ball", "free")],
)
def test_every_kind_of_joint(solver, joint):
    dynamics = NewtonDynamics(box_on(joint, 2), dt=DT, substeps=8, solver=solver)
    compared = compare(dynamics, moved(dynamics), [3e-3, 3e-2, 10.0])
    assert compared.clear.all()
    assert max(compared.error()) < 1e-3


@pytest.mark.parametrize("solver", ["featherstone", "semi_implicit"])
def test_a_ball_that_slides_on_the_ground(solver):
    robot, scene = newton.ModelBuilder(), newton.ModelBuilder()
    robot.default_shape_cfg.gap = 0.2
    ball = robot.add_body(xform=wp.transform((0.0, 0.0, 0.18), wp.quat_identity()))
    robot.add_shape_sphere(ball, radius=0.2)
    scene.replicate(robot, 2)
    scene.add_ground_plane()
    dynamics = NewtonDynamics(scene.finalize(device="cpu", requires_grad=True), dt=DT, substeps=8, solver=solver)
    inputs = moved(dynamics, scale=0.0)
    inputs[1].reshape(2, 6)[:, :2] += np.float32(2.0)  # fast enough to slip, whatever the difference
    compared = compare(dynamics, inputs, [1e-4, 1e-3, 1.0], times=(1.0, 4.0, 16.0))
    assert compared.clear.all()
    assert max(compared.error()) < 1e-3
    assert dynamics.buffer_bytes > 0
    still, _ = compare(NewtonDynamics(dynamics.model, dt=DT, substeps=8, solver=solver, contacts=False), inputs, [])[:2]
    assert np.abs(still[0] - compared.exact[0]).max() > 1  # the ground was felt


def test_targets_of_servos_are_controls():
    robot, scene = newton.ModelBuilder(), newton.ModelBuilder()
    box = robot.add_link()
    robot.add_shape_box(box, hx=0.3, hy=0.25, hz=0.2)
    joint = robot.add_joint_revolute(-1, box, axis=(0, 1, 0), target_ke=300.0, target_kd=20.0)
    robot.add_articulation([joint])
    scene.replicate(robot, 2)
    model = scene.finalize(device="cpu", requires_grad=True)
    names = ("joint_target_q", "joint_target_qd")
    dynamics = NewtonDynamics(model, dt=DT, substeps=8, controls=names)
    assert tuple(spec.name for spec in dynamics.control_spec) == names
    compared = compare(dynamics, moved(dynamics), [1e-2, 1e-1, 1.0, 1.0])
    assert compared.clear.all()
    assert max(compared.error()) < 1e-3


@pytest.mark.parametrize("name", ["cartpole", "hopper", "ant"])
def test_both_engines_make_the_same_steps(name):
    """Off the ground, and with the paper's joint limits, which damp nothing within the range, as Newton's."""
    inertia = {} if name == "cartpole" else {"inertia_law": "paper"}
    ours, theirs = make(name, num_envs=4, limit_law="paper", **inertia), make(f"newton_{name}", num_envs=4)
    (a, obs), (b, _) = ours.reset(0), theirs.reset(0)
    if name == "hopper":  # from the air, and away from the ends of its joints
        lift = torch.tensor([0.0, 1.0, 0.0, -0.5, -0.5, 0.0])
        a = a._replace(physics=a.physics._replace(q=a.physics.q + lift))
        b = b._replace(physics=b.physics._replace(q=b.physics.q + lift))
    action = torch.full((4, ours.spec.num_actions), 0.1)
    for _ in range(5):
        (a, x), (b, y) = ours.step(a, action), theirs.step(b, action)
        torch.testing.assert_close(y.final_obs, x.final_obs, atol=2e-5, rtol=2e-5)
        torch.testing.assert_close(y.reward, x.reward, atol=2e-5, rtol=2e-5)
    assert (x.final_obs - obs).abs().max() > 0.1
    assert theirs.spec.obs_names == ours.spec.obs_names and theirs.spec.action_names == ours.spec.action_names


@pytest.mark.parametrize("name", ["cartpole", "hopper", "ant"])
def test_tasks_on_newton_keep_every_promise(name):
    options = {"substeps": 4} if name == "ant" else {}
    env, fewer = (make(f"newton_{name}", num_envs=n, **options) for n in (3, 2))
    assert isinstance(env, TaskEnv)
    check_env(env, fewer=fewer, num_steps=6)


def test_coordinates_there_and_back():
    """With a root whose centre of mass is not at its origin."""
    env = make("newton_ant", num_envs=3, substeps=1)
    env.task._com = np.array([0.1, -0.2, 0.3], np.float32)
    q, qd, _ = (torch.tensor(x) for x in ant_state(3, 1.0))
    rigid = env.task.to_rigid(env.xp, NewtonState(q, qd))
    back = env.task.from_rigid(env.xp, rigid)
    torch.testing.assert_close(back[0], q, atol=1e-6, rtol=0)
    torch.testing.assert_close(back[1], qd, atol=1e-5, rtol=0)
    w, u = rigid.q[:, 3:4], rigid.q[:, 4:7]
    arm = torch.tensor(env.task._com).expand(3, 3)
    turned = arm + 2 * torch.linalg.cross(u, torch.linalg.cross(u, arm) + w * arm)
    of_com = rigid.qd[:, :3] + torch.linalg.cross(qd[:, 3:6], turned)
    torch.testing.assert_close(of_com, qd[:, :3], atol=1e-5, rtol=0)


def test_torch_and_jax_agree():
    jax = pytest.importorskip("jax")
    grads = []
    for arrays in ("torch", "jax"):
        env = make("newton_cartpole", num_envs=3, arrays=arrays)
        state, _ = env.reset(0)
        actions = np.linspace(-0.5, 0.5, 12, dtype=np.float32).reshape(4, 3, 1)

        def total(actions, env=env, state=state):
            value = 0.0
            for action in actions:
                state, transition = env.step(state, action)
                value = value + transition.reward.sum()
            return value

        if arrays == "torch":
            given = torch.tensor(actions, requires_grad=True)
            grads.append(torch.autograd.grad(total(given), given)[0].numpy())
        else:
            grads.append(to_numpy(jax.jit(jax.grad(total))(jax.numpy.asarray(actions))))
    assert np.abs(grads[0]).max() > 0.1
    np.testing.assert_allclose(grads[0], grads[1], rtol=2e-6)


def test_solvers_that_are_not_differentiable_are_refused():
    model = box_on("revolute", 1)
    for solver in ("mujoco", "xpbd", "SolverVBD", newton.solvers.SolverXPBD):
        with pytest.raises(
            ValueError, match=r"solver=.* is not differentiable; take 'featherstone' .* 'semi_implicit'"
        ):
            NewtonDynamics(model, dt=DT, substeps=1, solver=solver)
    with pytest.raises(ValueError, match=r"unknown solver 'fetherstone'; did you mean 'featherstone'"):
        NewtonDynamics(model, dt=DT, substeps=1, solver="fetherstone")
    with pytest.raises(ValueError, match=r"update_mass_matrix_interval=4 must be 1"):
        NewtonDynamics(model, dt=DT, substeps=1, solver_options={"update_mass_matrix_interval": 4})


def finalized(build, worlds=1, **options):
    scene = newton.ModelBuilder()
    for i in range(worlds):
        robot = newton.ModelBuilder()
        build(robot, i)
        scene.add_world(robot)
    return scene.finalize(device="cpu", **{"requires_grad": True, **options})


def ball(robot, _):
    robot.add_shape_sphere(robot.add_body(), radius=0.1)


def test_models_whose_gradients_would_be_wrong_are_refused():
    def particle(robot, i):
        ball(robot, i)
        robot.add_particle(pos=(0, 0, 1), vel=(0, 0, 0), mass=1.0)

    def free_below(robot, _):
        upper, lower = robot.add_link(), robot.add_link()
        for link in (upper, lower):
            robot.add_shape_sphere(link, radius=0.1)
        robot.add_articulation([robot.add_joint_free(upper), robot.add_joint_free(lower, parent=upper)])

    def kinematic(robot, _):
        robot.add_shape_sphere(robot.add_body(is_kinematic=True, label="stone"), radius=0.1)

    def uneven(robot, i):
        for _ in range(i + 1):
            ball(robot, i)

    for model, complaint in (
        (finalized(ball, requires_grad=False), r"no gradients; finalize\(requires_grad=True\)"),
        (finalized(particle), "its 1 particles"),
        (finalized(free_below), "is free below another body"),
        (finalized(kinematic), "stone is kinematic"),
        (finalized(uneven, worlds=2), r"its 3 bodies are not 2 equal worlds; build one world and replicate"),
    ):
        with pytest.raises(ValueError, match=complaint):
            NewtonDynamics(model, dt=DT, substeps=1)
    for joint in ("prismatic", "fixed"):
        with pytest.raises(ValueError, match="singular where the joint holds; take solver='featherstone'"):
            NewtonDynamics(box_on(joint, 1), dt=DT, substeps=1, solver="semi_implicit")


UNSUPPORTED = {
    "h has friction, which featherstone leaves out; use damping": ('frictionloss=".3"', "", ""),
    "a has gravcomp, which featherstone leaves out; set it to 0": ("", 'gravcomp="1"', ""),
    "equality constraints|mimic constraints|mimics another joint": (
        "", "", '<equality><joint joint1="h" joint2="g"/></equality>'),
    "closes a loop or is in no articulation, and featherstone simulates trees": (
        "", "", '<equality><connect body1="b" body2="c" anchor="0 0 0"/></equality>'),
    "its 1 tendons are left out by featherstone": (
        "", "", '<tendon><fixed name="t"><joint joint="h" coef="1"/></fixed></tendon>'),
}  # fmt: skip


@pytest.mark.parametrize(("words", "parts"), UNSUPPORTED.items(), ids=UNSUPPORTED)
def test_what_newton_does_not_simulate_is_refused(words, parts):
    """Each alone; without any of them the robot is taken."""

    def world(joint, body, rest):
        robot = newton.ModelBuilder()
        newton.solvers.SolverMuJoCo.register_custom_attributes(robot)
        robot.add_mjcf(
            f"""<mujoco><worldbody>
            <body name="a" pos="0 0 1" {body}><joint name="h" axis="0 1 0" {joint}/><geom size=".1" mass="1"/>
            <body name="b" pos=".3 0 0"><joint name="g" axis="0 1 0"/><geom size=".1" mass="1"/></body></body>
            <body name="c" pos="0 1 1"><joint name="k" axis="0 1 0"/><geom size=".1" mass="1"/></body>
            </worldbody>{rest}</mujoco>"""
        )
        scene = newton.ModelBuilder()
        newton.solvers.SolverMuJoCo.register_custom_attributes(scene)
        scene.replicate(robot, 1)
        return scene.finalize(device="cpu", requires_grad=True)

    check_model(world("", "", ""), newton.solvers.SolverFeatherstone)
    with pytest.raises(ValueError, match=words):
        NewtonDynamics(world(*parts), dt=DT, substeps=1)


def test_wrong_arguments_name_what_is_wrong():
    model = box_on("revolute", 2)
    for options, complaint in (
        ({"dt": 0.0}, r"dt=0\.0 must be positive"),
        ({"substeps": 0}, "substeps=0 must be at least 1"),
        ({"controls": ("joint_g",)}, "unknown control 'joint_g'; did you mean 'joint_f'"),
    ):
        with pytest.raises(ValueError, match=complaint):
            NewtonDynamics(model, **{"dt": DT, "substeps": 1, **options})
    with pytest.raises(ValueError, match="state has 3 worlds, but the Newton model was finalised with 2"):
        compare(NewtonDynamics(model, dt=DT, substeps=1), [np.zeros((3, 1), np.float32)] * 3, [])
    with pytest.raises(ValueError, match="Newton computes in single precision only; use dtype='float32'"):
        make("newton_cartpole", num_envs=2, dtype="float64")
    with pytest.raises(ValueError, match=r"'cartpole' has 2 coordinates and 2 velocities.*\(1,\), \(1,\), \(1,\)"):
        NewtonTask(make("cartpole", num_envs=2).task, NewtonDynamics(model, dt=DT, substeps=1))


def test_without_the_extra_the_error_names_it():
    code = (
        "import sys; sys.modules['newton'] = None\n"
        "import diffsim_core; assert 'newton_ant' in diffsim_core.list_tasks()\n"
        "try:\n    diffsim_core.make('newton_ant', num_envs=2)\n"
        "except ImportError as error:\n    print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "NewtonDynamics needs newton, which is not installed: pip install 'diffsim-core[newton]'"
