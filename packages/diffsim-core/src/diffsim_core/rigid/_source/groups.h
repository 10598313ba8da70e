// Points of a large shape lie together in the tables, as a group within a sphere, so that a shape in the air costs one
// test. Loops over points ask here for the next one:
//     for (int c = 0, group = first; (c = next_point(..., c, group, near)) < count; c++)
#pragma once
#include "kinematics.h"

namespace ds {

struct Group {
    int link;
    V3 centre;  // of its sphere, from the link's reference point
    R reach;    // of its points from there, where they are and where a sub-step of length h brings them
};
DS_FN Group point_group(const Model& m, const Kinematics& k, int group, T h)
{
    const T* sphere = m.contacts.groupr + group * GPR_COLUMNS;
    Group g;
    g.link = m.contacts.group[group * GPI_COLUMNS + GP_LINK];
    g.centre = k.r[g.link] + rotate(k.E[g.link], sphere + GP_CENTRE);
    g.reach = splat(sphere[GP_RADIUS]);
#if DS_IMPLICIT
    V3 w = k.V[g.link].w, v = k.V[g.link].v + cross(w, g.centre);
    g.reach = g.reach + (sqrt_(dot(v, v)) + sqrt_(dot(w, w)) * sphere[GP_RADIUS]) * h;
#endif
    return g;
}

// The first point from c on that is in no group, or in one that is near in some world of the block. `group` is the group that
// comes next, of those before `groups`; near(group) says whether it is.
template <class Near>
DS_FN int next_point(const Model& m, int c, int& group, int groups, Near near)
{
#if DS_GROUPS
    while (group < groups) {
        const int* row = m.contacts.group + group * GPI_COLUMNS;
        if (c < row[GP_FIRST]) break;
        if (near(group++)) break;
        c = row[GP_FIRST] + row[GP_COUNT];
    }
#endif
    return c;
}

}  // namespace ds
