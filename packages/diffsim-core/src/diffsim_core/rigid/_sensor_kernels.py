"""What ``_source/sensors.h`` is handed, and its compilation when sensors are first used; see ``_kernels.py``."""

import functools

from diffsim_core.native import Arguments, Kernels
from diffsim_core.rigid._kernels import MODEL, SizeClass, rigid_kernels

_INPUTS = {
    **MODEL,
    "sensor_integers": "const int*",
    "sensor_reals": "const T*",
    "q": "const T*",
    "qd": "const T*",
}
_FUNCTIONS = {
    "sense": Arguments("SenseArgs", **_INPUTS, values="T*"),
    "sense_vjp": Arguments("SenseVjpArgs", **_INPUTS, gvalues="const T*", gq="T*", gqd="T*"),
}


@functools.cache
def sensor_kernels(dtype: str, on_cuda: bool, size: SizeClass, outputs: int) -> Kernels:
    """Kernels for a size class and up to ``outputs`` numbers."""
    bounds = (("DS_MAX_OUT", outputs),)
    return rigid_kernels("diffsim_sensors", "sensors.h", _FUNCTIONS, dtype, on_cuda, size, bounds)
