"""Compiles the C++ of ``_source/`` with Warp's own compilers (clang on a CPU, NVRTC on CUDA) and wraps it in kernels.

One module serves every model whose sizes fit its size class, so a new robot of a size already seen costs no
compilation. Kernels take raw pointers: wrapping tensors in ``wp.array`` would cost more than small batches
of worlds take to simulate.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import warp as wp

from diffsim_core.native import Kernels, cpu_lanes, native_module, team_kernels
from diffsim_core.rigid._named import SOURCE, Entry, cases, digest, include
from diffsim_core.rigid.contact_laws import CONTACT_LAWS, ContactLaw, compiled_laws
from diffsim_core.rigid.joints import JOINTS, Joint, extra_joints
from diffsim_core.rigid.model import RigidModel

# Warp reads the argument types of native functions from their annotations, as objects, so this list of pointers
# (uint64) and sizes is spelt out at each function.
_STEP = (
    "ds::control_step(index, (const int*)mi, (const ds::T*)mr, n, substeps, keep, (ds::T)dt, (ds::T)limit, "
    "(const ds::T*)q, (const ds::T*)v, (const ds::T*)a, (const ds::T*)u, (const ds::T*)p, (ds::T*)q_out, "
    "(ds::T*)v_out, (ds::T*)a_out, (ds::T*)p_out, (int*)ok, (ds::T*)saved);"
)
_VJP = (
    "ds::control_step_vjp(index, (const int*)mi, (const ds::T*)mr, n, substeps, keep, (ds::T)dt, (const ds::T*)u, "
    "(const ds::T*)p, (const int*)ok, (const ds::T*)saved, (const ds::T*)gq_out, (const ds::T*)gv_out, "
    "(const ds::T*)ga_out, (const ds::T*)gp_out, (ds::T*)gq, (ds::T*)gv, (ds::T*)ga, (ds::T*)gu, (ds::T*)gp);"
)
_PROBE = (
    "ds::probe(index, (const int*)mi, (const ds::T*)mr, n, (const ds::T*)q, (const ds::T*)v, (const ds::T*)a, "
    "(const ds::T*)u, (const ds::T*)p, (ds::T*)mass, (ds::T*)force, (ds::T*)qdd, (ds::T*)touching);"
)


@wp.func_native(_STEP)
def _step(
    index: int, mi: wp.uint64, mr: wp.uint64, n: int, substeps: int, keep: int, dt: wp.float64, limit: wp.float64,
    q: wp.uint64, v: wp.uint64, a: wp.uint64, u: wp.uint64, p: wp.uint64, q_out: wp.uint64, v_out: wp.uint64,
    a_out: wp.uint64, p_out: wp.uint64,
    ok: wp.uint64, saved: wp.uint64,
): ...  # fmt: skip


@wp.func_native(_VJP)
def _vjp(
    index: int, mi: wp.uint64, mr: wp.uint64, n: int, substeps: int, keep: int, dt: wp.float64, u: wp.uint64,
    p: wp.uint64, ok: wp.uint64, saved: wp.uint64, gq_out: wp.uint64, gv_out: wp.uint64, ga_out: wp.uint64,
    gp_out: wp.uint64, gq: wp.uint64, gv: wp.uint64, ga: wp.uint64, gu: wp.uint64, gp: wp.uint64,
): ...  # fmt: skip


@wp.func_native(_PROBE)
def _probe(
    index: int, mi: wp.uint64, mr: wp.uint64, n: int, q: wp.uint64, v: wp.uint64, a: wp.uint64, u: wp.uint64,
    p: wp.uint64, mass: wp.uint64, force: wp.uint64, qdd: wp.uint64, touching: wp.uint64,
): ...  # fmt: skip


@dataclass(frozen=True)
class SizeClass:
    """Bounds of the kernels' local arrays, and what is compiled into them beside the ever-present."""

    links: int
    dofs: int
    entries: int
    controls: int
    servos: bool = False
    muscles: bool = False
    activations: int = 0
    """Of muscles."""
    reals: int = 0
    """Reals of a model some of which are inputs; zero where none is."""
    parameters: int = 0
    joints: tuple[Joint, ...] = ()
    """Types beyond those that every module is compiled with."""
    joint_parameters: int = 0
    """Of these types, for each link."""
    laws: tuple[ContactLaw, ...] = ()
    """Of contact, beyond those that every module is compiled with."""

    def with_types(self, model: RigidModel) -> "SizeClass":
        """The class of a model with those types of joint and that contact law."""
        laws = compiled_laws(model.contact_law)[len(CONTACT_LAWS.built_in) :]
        return replace(self, joints=extra_joints(model), joint_parameters=model.joint_parameters.shape[1], laws=laws)

    def with_inputs(self, reals: int, parameters: int) -> "SizeClass":
        """The class of a model with that many reals, of which ``parameters`` numbers are inputs; 0 for none."""
        if not parameters:
            return self
        return replace(self, reals=-(-reals // 256) * 256, parameters=-(-parameters // 32) * 32)

    @classmethod
    def of(cls, links: int, dofs: int, entries: int, controls: int, *, on_cuda: bool) -> "SizeClass":
        """Round sizes up, so that few modules serve many models.

        Widely on a CPU, where room that is not used costs nothing; narrowly on CUDA, where every world has its own.
        """

        def up(n: int, step: int) -> int:
            return max(step, -(-n // step) * step)

        if on_cuda:
            return cls(up(links, 2), up(dofs, 2), up(entries, 8), up(controls, 4))
        dofs = up(dofs, 16)
        return cls(up(links, 16), dofs, dofs * (dofs + 1) // 2, up(controls, 16))


@dataclass(frozen=True)
class RigidKernels(Kernels):
    """The kernels of one (number type, device, size class)."""

    probe: wp.Kernel


@functools.cache
def kernels(dtype: str, on_cuda: bool, size: SizeClass) -> RigidKernels:
    """Kernels for a number type (``"float32"`` or ``"float64"``), a kind of device and a size class.

    Compiled at the first launch and then cached on disk by Warp, keyed by the sources' contents.
    """
    module = rigid_module("diffsim_rigid", "pool.h", dtype, on_cuda, size)
    step, vjp, probe = _define(module)
    lead, follow = team_kernels(module)
    lanes = 1 if on_cuda else cpu_lanes(dtype)
    return RigidKernels(step=step, vjp=vjp, lead=lead, follow=follow, lanes=lanes, module=module, probe=probe)


def rigid_module(
    prefix: str, header: str, dtype: str, on_cuda: bool, size: SizeClass, more: tuple[tuple[str, int], ...] = ()
) -> wp.Module:
    """A Warp module whose kernels see ``header`` of ``_source/``, compiled for a size class.

    ``more`` are bounds of that header's own: name and value.
    """
    joints, laws = (*JOINTS.built_in, *size.joints), (*CONTACT_LAWS.built_in, *size.laws)
    types: tuple[Entry, ...] = (*joints, *laws)
    defines = {
        "DS_MAX_NL": size.links,
        "DS_MAX_NV": size.dofs,
        "DS_MAX_NQ": size.links + size.dofs,
        "DS_MAX_NM": size.entries,
        "DS_MAX_NU": size.controls,
        "DS_SERVOS": int(size.servos),
        "DS_MUSCLES": int(size.muscles),
        "DS_MAX_NA": size.activations or 1,
        "DS_PARAMS": int(size.parameters > 0),
        "DS_MAX_NR": size.reals,
        "DS_MAX_NP": size.parameters,
        "DS_JOINT_PARAMETERS": size.joint_parameters,
        "DS_JOINTS(X, ...)": cases(joints, "nq", "nv", "world"),
        "DS_LAWS(X, ...)": cases(laws),
        **dict(more),
    }
    place = "cuda" if on_cuda else "cpu"
    name = f"{prefix}_{dtype}_{place}_l{size.links}_v{size.dofs}_m{size.entries}_u{size.controls}"
    name += "_servos" if size.servos else ""
    name += f"_muscles{size.activations}" if size.muscles else ""
    name += f"_p{size.parameters}_r{size.reals}" if size.parameters else ""
    name += f"_j{size.joint_parameters}" if size.joint_parameters else ""
    name += "".join(f"_{digest(entry)}" for entry in (*size.joints, *size.laws))
    name += "".join(f"_{value}" for _, value in more)
    folders = [SOURCE, *dict.fromkeys(entry.header.resolve().parent for entry in types)]
    first = [include(entry) for entry in types]
    return native_module(name, header, folders=folders, dtype=dtype, on_cuda=on_cuda, defines=defines, first=first)


def _define(module: wp.Module) -> tuple[Any, Any, Any]:
    @wp.kernel(module=module)
    def control_step(
        mi: wp.uint64, mr: wp.uint64, n: int, substeps: int, keep: int, dt: wp.float64, limit: wp.float64,
        q: wp.uint64, v: wp.uint64, a: wp.uint64, u: wp.uint64, p: wp.uint64, q_out: wp.uint64, v_out: wp.uint64,
        a_out: wp.uint64, p_out: wp.uint64,
        ok: wp.uint64, saved: wp.uint64,
    ):  # fmt: skip
        _step(wp.tid(), mi, mr, n, substeps, keep, dt, limit, q, v, a, u, p, q_out, v_out, a_out, p_out, ok, saved)  # pyright: ignore[reportArgumentType]

    @wp.kernel(module=module)
    def control_step_vjp(
        mi: wp.uint64, mr: wp.uint64, n: int, substeps: int, keep: int, dt: wp.float64, u: wp.uint64,
        p: wp.uint64, ok: wp.uint64, saved: wp.uint64, gq_out: wp.uint64, gv_out: wp.uint64, ga_out: wp.uint64,
        gp_out: wp.uint64, gq: wp.uint64, gv: wp.uint64, ga: wp.uint64, gu: wp.uint64, gp: wp.uint64,
    ):  # fmt: skip
        _vjp(
            wp.tid(), mi, mr, n, substeps, keep, dt, u, p, ok, saved, gq_out, gv_out, ga_out, gp_out, gq, gv, ga, gu, gp
        )  # pyright: ignore[reportArgumentType]

    @wp.kernel(module=module)
    def probe(
        mi: wp.uint64, mr: wp.uint64, n: int, q: wp.uint64, v: wp.uint64, a: wp.uint64, u: wp.uint64,
        p: wp.uint64, mass: wp.uint64, force: wp.uint64, qdd: wp.uint64, touching: wp.uint64,
    ):  # fmt: skip
        _probe(wp.tid(), mi, mr, n, q, v, a, u, p, mass, force, qdd, touching)  # pyright: ignore[reportArgumentType]

    return control_step, control_step_vjp, probe
