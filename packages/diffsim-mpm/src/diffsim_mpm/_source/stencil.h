// The 3 x 3 x 3 nodes around a particle and its quadratic B-splines (Steffen, Kirby and Berzins 2008).
#pragma once
#include "nodes.h"
#include "tensor.h"

namespace ds {

// The active part of a grid: nodes first[.] + 0 .. count[.] - 1, z fastest. Steps in numbers, four a node.
struct Box {
    int first[3], count[3];
    DS_FN int nodes(const Box& b) { return b.count[0] * b.count[1] * b.count[2]; }
    DS_FN int along_y(const Box& b) { return 4 * b.count[2]; }
    DS_FN int along_x(const Box& b) { return 4 * b.count[2] * b.count[1]; }
};

// A particle's place between nodes, in cells from the middle node: |f| <= 1/2.
struct Place {
    V3 f, base;
};
DS_FN Place place_of(V3 x, T inv_dx)
{
    V3 g = x * splat(inv_dx);
    R half = splat(T(0.5)), one = splat(T(1));
    V3 base = {floor_(g.x - half), floor_(g.y - half), floor_(g.z - half)};
    return {{g.x - base.x - one, g.y - base.y - one, g.z - base.z - one}, base};
}
// weights of the three nodes, and their slopes by f
DS_FN void weights(R f, R* w)
{
    R a = T(0.5) - f, b = T(0.5) + f;
    w[0] = T(0.5) * a * a;
    w[1] = T(0.75) - f * f;
    w[2] = T(0.5) * b * b;
}
DS_FN void slopes(R f, R* s)
{
    s[0] = f - T(0.5);
    s[1] = T(-2) * f;
    s[2] = f + T(0.5);
}

}  // namespace ds
