// What contact needs beyond the model's plain points: the width of its smoothing, points that wander over their
// shape, a height field, and pairs of shapes. rigid/_pack_contact.py writes the same columns.
#pragma once
#include "algebra.h"

namespace ds {

// columns of the real table of contact points
enum { C_POS = 0, C_RADIUS = 3, C_KN, C_KD, C_KT, C_MU, CR_COLUMNS };
// how a surface point moves over its shape
enum { ROUND = 0, ELLIPSOID = 1 };
// tables of surface points beside those of `touchr`: an ellipsoid's squared semi-axes, and its axes
enum { F_LINK, F_KIND, FI_COLUMNS };
enum { F_SIZE = 0, F_AXES = F_SIZE + 3, FR_COLUMNS = F_AXES + 9 };
// tables of pairs: the half vector of the first shape, a segment with a radius, whose centre is in `touchr`; then the
// second, another segment or a box; and the distance of centres beyond which they cannot touch
enum { SEGMENTS = 0, SEGMENT_BOX = 1 };
enum { P_KIND, P_A, P_B, PI_COLUMNS };
enum {
    P_HALF_A = 0, P_POS_B = P_HALF_A + 3, P_RADIUS_B = P_POS_B + 3, P_HALF_B, P_AXES_B = P_HALF_B + 3,
    P_REACH = P_AXES_B + 9, PR_COLUMNS
};
// tables of groups: points of one large shape that lie together, and the sphere about them and their radii
enum { GP_FIRST, GP_COUNT, GP_LINK, GPI_COLUMNS };
enum { GP_CENTRE = 0, GP_RADIUS = 3, GPR_COLUMNS };

struct Contacts {
    int nf, np, nx, ny;  // surface points, pairs, and the height field's samples (none: a plane)
    int ng, nfg;         // groups of plain points, then of surface points
    bool places;         // whether world x and y of links are needed
    T width, back;       // smoothing of the forward and of the backward pass
    T x0, y0, per_dx, per_dy;
    T steepest;  // 1 / the least z of the ground's normals
    const int *surface, *pair, *group;
    const T *surfacer, *pairr, *groupr, *heights;  // heights [ny][nx]
};

DS_FN Contacts unpack_contacts(const int* i, const T* r)
{
    Contacts c;
    c.nf = i[0], c.np = i[1], c.nx = i[2], c.ny = i[3], c.ng = i[4], c.nfg = i[5];
    c.places = c.np > 0 || c.nx > 0;
    c.surface = i + 6;
    c.pair = c.surface + c.nf * FI_COLUMNS;
    c.group = c.pair + c.np * PI_COLUMNS;
    c.width = r[0], c.back = r[1], c.x0 = r[2], c.y0 = r[3], c.per_dx = r[4], c.per_dy = r[5], c.steepest = r[6];
    c.surfacer = r + 7;
    c.pairr = c.surfacer + c.nf * FR_COLUMNS;
    c.groupr = c.pairr + c.np * PR_COLUMNS;
    c.heights = c.groupr + (c.ng + c.nfg) * GPR_COLUMNS;
    return c;
}

}  // namespace ds
