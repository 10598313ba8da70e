// What contact needs beyond the model's plain points: the width of its smoothing, points that wander over their
// shape, a height field, and pairs of shapes. rigid/_pack_contact.py writes the same columns.
#pragma once
#include "algebra.h"

namespace ds {

// columns of the real table of contact points
enum { C_POS = 0, C_RADIUS = 3, C_KN, C_KD, C_KT, C_MU, CR_COLUMNS };
// how a surface point moves over its shape
enum { ROUND = 0, ELLIPSOID = 1 };
// tables of surface points beside those of `touchr`: the plane (-1: the ground); an ellipsoid's squared semi-axes, its axes,
// and a plane's friction along the second tangent as a part of that along the first
enum { F_LINK, F_KIND, F_PLANE, FI_COLUMNS };
enum { F_SIZE = 0, F_AXES = F_SIZE + 3, F_RATIO = F_AXES + 9, FR_COLUMNS };
// tables of planes: the normal, its distance from the origin, and the second tangent
enum { PL_NORMAL = 0, PL_DISTANCE = 3, PL_TANGENT, PLR_COLUMNS = PL_TANGENT + 3 };
// tables of pairs of solids: the distance of their centres beyond which they cannot touch, and the radius to which the
// edges of two polyhedra are rounded; and of solids, see solids.h: the first real is counted from those of the pairs
enum { P_A, P_B, PI_COLUMNS };
enum { P_REACH, P_ROUNDING, PR_COLUMNS };
enum { B_LINK, B_SEGMENTS, B_PLANES, B_REALS, BI_COLUMNS };
enum { B_CENTRE = 0, B_RADIUS = 3, B_BOUND, BR_COLUMNS };
enum { E_CENTRE = 0, E_HALF = 3, E_SHRINK = 6, E_PER_SQUARE = 12, E_COLUMNS };
enum { N_NORMAL = 0, N_DISTANCE = 3, N_COLUMNS };
// tables of groups: points of one large shape that lie together, and the sphere about them and their radii
enum { GP_FIRST, GP_COUNT, GP_LINK, GP_PLANE, GPI_COLUMNS };
enum { GP_CENTRE = 0, GP_RADIUS = 3, GPR_COLUMNS };

struct Contacts {
    int nf, np, nx, ny;  // surface points, pairs, and the height field's samples (none: a plane)
    int ng, nfg;         // groups of plain points, then of surface points
    int planes;          // beside the ground
    bool places;         // whether world x and y of links are needed
    T width, back;       // smoothing of the forward and of the backward pass
    T x0, y0, per_dx, per_dy;
    T steepest;  // 1 / the least z of the ground's normals
    const int *surface, *group, *pair, *solid;
    const T *surfacer, *groupr, *planer, *heights, *pairr;  // heights [ny][nx]
};

DS_FN Contacts unpack_contacts(const int* i, const T* r)
{
    Contacts c;
    c.nf = i[0], c.np = i[1], c.nx = i[2], c.ny = i[3], c.ng = i[4], c.nfg = i[5], c.planes = i[6];
    c.places = c.np > 0 || c.nx > 0 || c.planes > 0;
    c.surface = i + 7;
    c.group = c.surface + c.nf * FI_COLUMNS;
    c.pair = c.group + (c.ng + c.nfg) * GPI_COLUMNS;
    c.solid = c.pair + c.np * PI_COLUMNS;
    c.width = r[0], c.back = r[1], c.x0 = r[2], c.y0 = r[3], c.per_dx = r[4], c.per_dy = r[5], c.steepest = r[6];
    c.surfacer = r + 7;
    c.groupr = c.surfacer + c.nf * FR_COLUMNS;
    c.planer = c.groupr + (c.ng + c.nfg) * GPR_COLUMNS;
    c.heights = c.planer + c.planes * PLR_COLUMNS;
    c.pairr = c.heights + c.nx * c.ny;
    return c;
}

}  // namespace ds
