"""Kernels that copy between the bridge's buffers ``[N, ...]`` and Newton's own arrays, for each world."""

# No postponed annotations here: Warp reads the kernels' types at definition.
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportGeneralTypeIssues=false

import warp as wp


@wp.func
def _within(rows: wp.array2d[wp.float32], world: int, limit: float):
    # A comparison with a number that is not one is false, so this refuses those too.
    good = wp.int32(1)
    for j in range(rows.shape[1]):
        if not (wp.abs(rows[world, j]) < limit):
            good = wp.int32(0)
    return good


@wp.kernel(enable_backward=False)
def take(
    given: wp.array2d[wp.float32],
    rest: wp.array2d[wp.float32],
    limit: float,
    taken: wp.array2d[wp.float32],
    ok: wp.array1d[wp.int32],
):
    """Copy worlds that are within ``limit``; another becomes ``rest`` and is not ``ok``."""
    world = wp.tid()
    good = _within(given, world, limit)
    if good == 0:
        ok[world] = 0
    for j in range(given.shape[1]):
        taken[world, j] = wp.where(good == 1, given[world, j], rest[world, j])


@wp.kernel(enable_backward=False)
def judge(made: wp.array2d[wp.float32], limit: float, ok: wp.array1d[wp.int32]):
    """A world that left ``limit`` is not ``ok``."""
    world = wp.tid()
    if _within(made, world, limit) == 0:
        ok[world] = 0


@wp.kernel(enable_backward=False)
def settle(
    ok: wp.array1d[wp.int32],
    made: wp.array2d[wp.float32],
    given: wp.array2d[wp.float32],
    out: wp.array2d[wp.float32],
):
    """What a world that is ``ok`` made; another stays as it was given."""
    world, j = wp.tid()
    out[world, j] = wp.where(ok[world] == 1, made[world, j], given[world, j])


@wp.kernel(enable_backward=False)
def mask(ok: wp.array1d[wp.int32], values: wp.array2d[wp.float32], out: wp.array2d[wp.float32]):
    """``values`` of worlds that are ``ok``, 0 elsewhere."""
    world, j = wp.tid()
    out[world, j] = wp.where(ok[world] == 1, values[world, j], 0.0)


@wp.kernel(enable_backward=False)
def as_given(
    body_q_com: wp.array1d[wp.transform],
    origin: wp.array1d[wp.vec3],
    body_f: wp.array1d[wp.spatial_vector],
):
    """External wrenches, which the solver turned in place into its own frame and sign, as they were before."""
    body = wp.tid()
    force = -wp.spatial_top(body_f[body])
    arm = wp.transform_get_translation(body_q_com[body]) - origin[body]
    body_f[body] = wp.spatial_vector(force, -wp.spatial_bottom(body_f[body]) - wp.cross(arm, force))


@wp.kernel(enable_backward=False)
def normalise(
    start: wp.array1d[wp.int32], rows: wp.array2d[wp.float32], norm: wp.array2d[wp.float32], ok: wp.array1d[wp.int32]
):
    """Quaternions, which begin in the columns ``start``, at unit length; their lengths go to ``norm``."""
    world, i = wp.tid()
    at = start[i]
    squared = wp.float32(0.0)
    for j in range(4):
        squared += rows[world, at + j] * rows[world, at + j]
    length = wp.sqrt(squared)
    if length < 1.0e-6:  # no direction at all: such a world does not move
        ok[world] = 0
        length = 1.0
        rows[world, at + 3] = 1.0
    norm[world, i] = length
    for j in range(4):
        rows[world, at + j] = rows[world, at + j] / length


@wp.kernel(enable_backward=False)
def normalise_vjp(
    start: wp.array1d[wp.int32],
    rows: wp.array2d[wp.float32],
    norm: wp.array2d[wp.float32],
    gradient: wp.array2d[wp.float32],
):
    """Turn the gradient by unit quaternions into that by quaternions of length ``norm``."""
    world, i = wp.tid()
    at = start[i]
    along = wp.float32(0.0)
    for j in range(4):
        along += rows[world, at + j] * gradient[world, at + j]
    for j in range(4):
        gradient[world, at + j] = (gradient[world, at + j] - along * rows[world, at + j]) / norm[world, i]
