"""What the C++ of ``_source/`` is handed, and its compilation by Warp's own compilers.

One module serves every model whose sizes fit its size class, so a new robot of a size already seen costs no
compilation. Functions take bare addresses: wrapping tensors in ``wp.array`` would cost more than small batches
of worlds take to simulate.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from diffsim_core.entries import Entry, cases, digest, include
from diffsim_core.native import Arguments, Kernels, native_kernels, shared_headers, step_arguments
from diffsim_core.rigid._headers import SOURCE
from diffsim_core.rigid.contact_laws import CONTACT_LAWS, ContactLaw, compiled_laws
from diffsim_core.rigid.joints import JOINTS, Joint, extra_joints
from diffsim_core.rigid.model import RigidModel

MODEL = {"integers": "const int*", "reals": "const T*", "num_worlds": "int"}
"""The packed model, see ``_source/model.h``."""
_SUBSTEPS = {"substeps": "int", "keep_factor": "int", "dt": "T", "limit": "T"}
_INPUTS = {"q": "const T*", "qd": "const T*", "act": "const T*", "u": "const T*", "params": "const T*"}
_PROBED = {"mass": "T*", "force": "T*", "qdd": "T*", "touching": "T*"}
STEP, VJP = step_arguments(("q", "qd", "act"), ("u",), ("params",))
_FUNCTIONS = {
    "control_step": Arguments("StepArgs", **MODEL, **_SUBSTEPS, **STEP),
    "control_step_vjp": Arguments("StepVjpArgs", **MODEL, **_SUBSTEPS, **VJP),
}
"""Of ``_source/step.h``. An array that a model does not have (activations, parameters) is null, and so is
``saved`` where no backward pass will come."""
PROBE = {**_INPUTS, **_PROBED}
"""Of ``_source/probe.h``, on a CPU alone."""


_MANY_ENTRIES = 64 * 65 // 2
"""Entries of a mass matrix up to which a module has room for all that its degrees of freedom could have."""


@dataclass(frozen=True)
class SizeClass:
    """Bounds of the kernels' local arrays, and what is compiled into them in addition to what always is."""

    links: int
    dofs: int
    entries: int
    controls: int
    cliques: bool = False
    """Whether rows of the mass matrix have room for more than ancestors, see ``_elimination.py``."""
    servos: bool = False
    servo_totals: bool = False
    """Whether sums of servos have bounds."""
    muscles: bool = False
    couplings: bool = False
    """Whether joints follow others."""
    groups: bool = False
    """Of contact points within spheres."""
    spins: bool = False
    """Friction against turning."""
    activations: int = 0
    """Of muscles and actuators."""
    passive: bool = False
    """Gravity compensation and fluid."""
    tendons: bool = False
    """Whether ``muscles`` includes what is no muscle (``_source/tendons.h``)."""
    wraps: bool = False
    """Paths around spheres and cylinders."""
    reals: int = 0
    """Reals of a model some of which are inputs; zero where none is."""
    parameters: int = 0
    joints: tuple[Joint, ...] = ()
    """Joint types in addition to those that every module has."""
    joint_parameters: int = 0
    """Parameters that these types have, for each link."""
    laws: tuple[ContactLaw, ...] = ()
    """Contact laws in addition to those that every module has."""
    implicit: bool = False
    """Whether dampers act on the velocity after the sub-step, see ``_source/implicit.h``."""
    loops: bool = False
    losses: bool = False
    """Dry friction, and dampers of limits."""
    lanes: int = 0
    """Worlds of a block on a CPU; 0 for those of :func:`~diffsim_core.native.cpu_lanes`."""

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
        full = dofs * (dofs + 1) // 2
        return cls(up(links, 16), dofs, min(full, up(entries, _MANY_ENTRIES)), up(controls, 16))

    def local_bytes(self, dtype: str, lanes: int) -> int:
        """What the local arrays of a kernel take at most, estimated: several of each size live at a time."""
        numbers = 200 * self.links + 60 * self.dofs + 2 * self.entries + 3 * self.reals
        numbers += 8 * (self.controls + self.activations + self.parameters)
        return numbers * lanes * (4 if dtype == "float32" else 8)


@functools.cache
def kernels(dtype: str, on_cuda: bool, size: SizeClass) -> Kernels:
    """Kernels for a number type (``"float32"`` or ``"float64"``), a kind of device and a size class."""
    if on_cuda:
        return rigid_kernels("diffsim_rigid", "step.h", _FUNCTIONS, dtype, on_cuda, size)
    functions = {**_FUNCTIONS, "probe": Arguments("ProbeArgs", **MODEL, **PROBE)}
    return rigid_kernels("diffsim_rigid", "probe.h", functions, dtype, on_cuda, size)


def rigid_kernels(
    prefix: str,
    header: str,
    functions: Mapping[str, Arguments],
    dtype: str,
    on_cuda: bool,
    size: SizeClass,
    more: tuple[tuple[str, int], ...] = (),
) -> Kernels:
    """Kernels of the functions of ``header`` in ``_source/``, compiled for a size class.

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
        "DS_CLIQUES": int(size.cliques),
        "DS_SERVOS": int(size.servos),
        "DS_SERVO_TOTALS": int(size.servo_totals),
        "DS_MUSCLES": int(size.muscles),
        "DS_COUPLED": int(size.couplings),
        "DS_GROUPS": int(size.groups),
        "DS_SPINS": int(size.spins),
        "DS_TENDONS": int(size.tendons),
        "DS_WRAPS": int(size.wraps),
        "DS_MAX_NA": size.activations or 1,
        "DS_PASSIVE": int(size.passive),
        "DS_PARAMS": int(size.parameters > 0),
        "DS_IMPLICIT": int(size.implicit),
        "DS_LOOPS": int(size.loops),
        "DS_LOSSES": int(size.losses),
        "DS_MAX_NR": size.reals,
        "DS_MAX_NP": size.parameters,
        "DS_JOINT_PARAMETERS": size.joint_parameters,
        "DS_JOINTS(X, ...)": cases(joints, "nq", "nv", "world"),
        "DS_LAWS(X, ...)": cases(laws),
        **dict(more),
    }
    place = "cuda" if on_cuda else "cpu"
    name = f"{prefix}_{dtype}_{place}_l{size.links}_v{size.dofs}_m{size.entries}_u{size.controls}"
    name += "_cliques" if size.cliques else ""
    name += "_servos" if size.servos else ""
    name += "_totals" if size.servo_totals else ""
    name += f"_muscles{size.activations}" if size.muscles else ""
    name += "_coupled" if size.couplings else ""
    name += "_passive" if size.passive else ""
    name += "_groups" if size.groups else ""
    name += "_spins" if size.spins else ""
    name += "_tendons" if size.tendons else ""
    name += "_wraps" if size.wraps else ""
    name += f"_p{size.parameters}_r{size.reals}" if size.parameters else ""
    name += f"_j{size.joint_parameters}" if size.joint_parameters else ""
    name += "".join(f"_{digest(entry)}" for entry in (*size.joints, *size.laws))
    name += "_implicit" if size.implicit else ""
    name += "_loops" if size.loops else ""
    name += "_losses" if size.losses else ""
    name += f"_x{size.lanes}" if size.lanes else ""
    name += "".join(f"_{value}" for _, value in more)
    others = (entry.header.resolve().parent for entry in types if not entry.header.is_relative_to(SOURCE))
    folders = [shared_headers(SOURCE), *dict.fromkeys(others)]
    compiler = {"folders": folders, "dtype": dtype, "on_cuda": on_cuda, "defines": defines, "lanes": size.lanes or None}
    return native_kernels(name, header, functions, **compiler, first=[include(entry, SOURCE) for entry in types])
