// Transfers between particles and grid in plain numbers, one particle a thread; the same as in transfer.h. What `scatter` adds
// to a node it adds atomically, in no particular order: on CUDA two runs may differ in the last bits. See lists.h for the other
// way.
#pragma once
#include "stencil.h"

namespace ds {

// An affine field of four numbers, by its value at the middle node.
struct Field {
    V3 p;
    M3 a;
    T fourth;
    DS_FN V3 at(const Field& f, T i, T j, T k) { return plus(plus(plus(f.p, f.a.c[0], i), f.a.c[1], j), f.a.c[2], k); }
};
DS_FN Field field_of(V3 p, const M3& A, T fourth, V3 f) { return {p - mul(A, f), A, fourth}; }

// A particle's 27 nodes: weights, their slopes, and where the first one is.
struct Star {
    T w[3][3], s[3][3];
    int at;
};
DS_FN Star star(const Place& p, const Box& box)
{
    Star r;
    weights(p.f.x, r.w[0]);
    weights(p.f.y, r.w[1]);
    weights(p.f.z, r.w[2]);
    slopes(p.f.x, r.s[0]);
    slopes(p.f.y, r.s[1]);
    slopes(p.f.z, r.s[2]);
    int x = int(p.base.x) - box.first[0], y = int(p.base.y) - box.first[1], z = int(p.base.z) - box.first[2];
    r.at = ((x * box.count[1] + y) * box.count[2] + z) * 4;
    return r;
}
DS_FN int node_of(const Star& s, const Box& box, int i, int j, int k)
{
    return s.at + i * Box::along_x(box) + j * Box::along_y(box) + 4 * k;
}

DS_FN void scatter(const Star& s, const Field& f, const Box& box, T* grid)
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) {
                T w = s.w[0][i] * s.w[1][j] * s.w[2][k];
                V3 v = Field::at(f, T(i - 1), T(j - 1), T(k - 1)) * w;
                T* to = grid + node_of(s, box, i, j, k);
                wp::atomic_add(to, v.x);
                wp::atomic_add(to + 1, v.y);
                wp::atomic_add(to + 2, v.z);
                wp::atomic_add(to + 3, f.fourth * w);
            }
}
// the weighted sum, and the moments about the particle
DS_FN void gather(const Star& s, V3 f, const Box& box, const T* grid, V3& sum, M3& moment)
{
    sum = zero3();
    moment = zero33();
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) {
                const T* n = grid + node_of(s, box, i, j, k);
                V3 v = V3{n[0], n[1], n[2]} * (s.w[0][i] * s.w[1][j] * s.w[2][k]);
                sum = sum + v;
                moment = moment + outer(v, V3{T(i - 1) - f.x, T(j - 1) - f.y, T(k - 1) - f.z});
            }
}
// what moving the particle changes in the weighted sum of (field . numbers on the nodes)
DS_FN V3 slope(const Star& s, const Field& f, const Box& box, const T* grid)
{
    V3 g = zero3();
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) {
                const T* n = grid + node_of(s, box, i, j, k);
                T t = dot(Field::at(f, T(i - 1), T(j - 1), T(k - 1)), V3{n[0], n[1], n[2]}) + f.fourth * n[3];
                g.x += s.s[0][i] * s.w[1][j] * s.w[2][k] * t;
                g.y += s.w[0][i] * s.s[1][j] * s.w[2][k] * t;
                g.z += s.w[0][i] * s.w[1][j] * s.s[2][k] * t;
            }
    return g;
}

}  // namespace ds
