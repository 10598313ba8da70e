// Free rigid bodies: their tables, their memory, and rotations. A body's numbers fill all lanes of a register alike; sums over
// the lanes of nodes or points are taken where they are stored. Vectors are in world axes, unless said otherwise.
#pragma once
#include "coupling.h"
#include "model.h"
#include "nodes.h"
#include "tensor.h"

namespace ds {

// The tables of Python's `pack_rigid`: integers begin with the number of bodies, of shapes, and the place of the first body's
// mass among the parameters; then bodies and shapes. Reals have bodies, shapes, points and samples, in this order.
enum { G_BODIES, G_SHAPES, G_POINTS, G_PARAM, G_HEAD };
// columns of a body: its first shape and how many, its first point and how many, whole registers of them
enum { GI_SHAPE, GI_SHAPES, GI_POINT, GI_POINTS, GI_COLUMNS };
// radius of a ball about the centre of mass that holds all that it touches [m]; stiffness [N/m], damping [N s/m^2] and grip
// [N s/m] of each of its points on the sides of the grid
enum { GR_BALL, GR_STIFFNESS, GR_DAMPING, GR_GRIP, GR_COLUMNS };
// numbers of a body among the parameters: mass [kg], and inertia about the centre of mass in the body's axes: xx yy zz xy xz yz
enum { MASS, INERTIA, MASSES = INERTIA + 6 };

// Centre of mass, quaternion wxyz of the body's axes, velocity of the centre of mass, angular velocity.
struct RigidState {
    T c[3], q[4], v[3], w[3];
};
// Sums over nodes of m J^T D J (lower triangle) and m J^T D (u - J V), see rigid_nodes.h.
enum { TRIANGLE = 21, SUMS = TRIANGLE + 6 };
// A body in a sub-step. Twists: of the body when it meets no node, when it meets them without friction, and in the end.
struct RigidWork {
    Sum sums[2][SUMS], glast[6], gfirst[6], gplace[6];  // of nodes; in the backward pass cotangents of `last`, `first`, place
    T E[9], mass[MASSES], inverse[6];
    T alone[6], first[6], last[6];
    T lambda[2][6], pull[6];  // in the backward pass; `pull`: what the motion makes of `last`
};
// Cotangents of a body: of its place, its turn (a rotation vector applied to it), its twist, load and mass.
struct RigidBar {
    T c[3], turn[3], v[3], w[3], load[6], mass[MASSES];
};
static_assert(sizeof(RigidState) == 13 * sizeof(T) && sizeof(RigidWork) == 58 * sizeof(T) + 72 * sizeof(Sum) && sizeof(RigidBar) == 25 * sizeof(T),
              "_launches.py makes room for so many numbers");
struct Rigid {
    int count, param;
    const int* integers;
    const T *reals, *points;
    Shapes shapes;
    RigidState* states;  // [sub-steps + 1][count]
    RigidWork* works;    // [sub-steps][count]
    RigidBar* bars;      // [count]
    const T* loads;      // [count][6], or null
    RigidState *now, *next;
    RigidWork* work;  // of the sub-step at hand
};

// The bodies' own numbers in one world: the model's, and in the place of some the world's own.
DS_FN void masses_of(const Model& m, const T* own, int world, const Rigid& g)
{
    int chosen = m.head[I_CHOSEN];
    for (int k = 0; k < MASSES * g.count; k++) g.work[k / MASSES].mass[k % MASSES] = m.params[g.param + k];
    for (int i = 0; i < chosen; i++) {
        int k = m.chosen[i] - g.param;
        if (k >= 0 && k < MASSES * g.count) g.work[k / MASSES].mass[k % MASSES] = own[size_t(world) * chosen + i];
    }
}
DS_FN Rigid read_rigid(const int* integers, const T* reals)
{
    Rigid g;
    int shapes = integers[G_SHAPES];
    g.count = integers[G_BODIES];
    g.param = integers[G_PARAM];
    g.integers = integers + G_HEAD;
    g.reals = reals;
    const T* shape_reals = reals + g.count * GR_COLUMNS;
    g.points = shape_reals + shapes * SR_COLUMNS;
    g.shapes = {shapes, g.integers + g.count * GI_COLUMNS, shape_reals, g.points + 4 * integers[G_POINTS], nullptr};
    return g;
}
DS_FN size_t rigid_numbers(int count, int substeps)
{
    size_t n = count * ((substeps + 1) * sizeof(RigidState) + substeps * sizeof(RigidWork) + sizeof(RigidBar)) / sizeof(T);
    return n + n % 2;  // sums begin at multiples of eight bytes
}
DS_FN void place_rigid(Rigid& g, T* room, int substeps)
{
    g.works = (RigidWork*)room;
    g.states = (RigidState*)(g.works + substeps * g.count);
    g.bars = (RigidBar*)(g.states + (substeps + 1) * g.count);
}
// looks at sub-step k
DS_FN void at_sub_step(Rigid& g, int k)
{
    g.now = g.states + k * g.count;
    g.next = g.now + g.count;
    g.work = g.works + k * g.count;
}

DS_FN V3 all3(const T* p) { return {splat(p[0]), splat(p[1]), splat(p[2])}; }
DS_FN void to3(V3 a, T* p) { p[0] = get(a.x, 0), p[1] = get(a.y, 0), p[2] = get(a.z, 0); }
DS_FN void plus3(V3 a, T* p) { p[0] += get(a.x, 0), p[1] += get(a.y, 0), p[2] += get(a.z, 0); }
DS_FN M3 all33(const T* p) { return {{all3(p), all3(p + 3), all3(p + 6)}}; }
DS_FN R sum_of(R a)
{
    T sum = T(0);
    for (int l = 0; l < DS_LANES; l++) sum += get(a, l);
    return splat(sum);
}
DS_FN V3 sum_of(V3 a) { return {sum_of(a.x), sum_of(a.y), sum_of(a.z)}; }

// velocity at an arm from the centre of mass
DS_FN V3 carried(const T* twist, V3 arm) { return all3(twist) + cross(all3(twist + 3), arm); }

// a symmetric matrix, xx yy zz xy xz yz, and its inverse
DS_FN V3 symmetric(const T* s, V3 a)
{
    return {a.x * s[0] + a.y * s[3] + a.z * s[4], a.x * s[3] + a.y * s[1] + a.z * s[5], a.x * s[4] + a.y * s[5] + a.z * s[2]};
}
DS_FN void inverse_symmetric(const T* s, T* to)
{
    T a = s[1] * s[2] - s[5] * s[5], b = s[4] * s[5] - s[3] * s[2], c = s[3] * s[5] - s[4] * s[1];
    T per = T(1) / (s[0] * a + s[3] * b + s[4] * c);
    to[0] = a * per, to[3] = b * per, to[4] = c * per;
    to[1] = (s[0] * s[2] - s[4] * s[4]) * per, to[2] = (s[0] * s[1] - s[3] * s[3]) * per;
    to[5] = (s[3] * s[4] - s[0] * s[5]) * per;
}
// in world axes: E s E^T a
DS_FN V3 turned(const M3& E, const T* s, V3 a) { return mul(E, symmetric(s, mul_t(E, a))); }
// Adds the cotangents of the inertia s and of the turn of E, where b . (E s E^T a) is wanted.
DS_FN void turned_vjp(const M3& E, const T* s, V3 a, V3 b, T* gs, T* gturn)
{
    V3 p = mul_t(E, a), q = mul_t(E, b);
    T g[6] = {get(p.x * q.x, 0), get(p.y * q.y, 0), get(p.z * q.z, 0), get(p.x * q.y + p.y * q.x, 0),
              get(p.x * q.z + p.z * q.x, 0), get(p.y * q.z + p.z * q.y, 0)};
    for (int k = 0; k < 6; k++) gs[k] += g[k];
    plus3(cross(turned(E, s, a), b) + cross(turned(E, s, b), a), gturn);
}

DS_FN Quat all4(const T* q) { return {splat(q[0]), splat(q[1]), splat(q[2]), splat(q[3])}; }
DS_FN void axes_of(const T* q, T* E)
{
    Quat p = all4(q);
    M3 to = rotation(p, splat(T(2)) / norm2(p));
    for (int k = 0; k < 3; k++) to3(to.c[k], E + 3 * k);
}
// A body with attitude q turns by da: dq = (0, da) q / 2. Between the cotangents of q and of the turn, both ways; q, which may
// have any length, changes the attitude by its direction alone.
DS_FN V3 turn_of(Quat q, const T* g)
{
    V3 v = {q.x, q.y, q.z}, gv = all3(g + 1);
    return (gv * q.w - v * splat(g[0]) + cross(v, gv)) * splat(T(0.5));
}
DS_FN void from_turn(Quat q, V3 turn, T* g)
{
    Quat to = Quat{R{}, turn.x, turn.y, turn.z} * q;
    R per = splat(T(2)) / norm2(q);
    g[0] = get(to.w * per, 0), g[1] = get(to.x * per, 0), g[2] = get(to.y * per, 0), g[3] = get(to.z * per, 0);
}

// Of the square x of an angle a: sin(a / 2) / a, cos(a / 2), (1 - cos a) / a^2 and (a - sin a) / a^3, by series where a is small.
struct Angle {
    T half_sine, half_cosine, versine, rest;
};
DS_FN Angle angle(T x)
{
    Angle r;
    T a = wp::sqrt(x);
    r.half_cosine = wp::cos(T(0.5) * a);
    if (x < T(1e-2)) {
        r.half_sine = T(0.5) - x * (T(1) / 48 - x * (T(1) / 3840 - x * (T(1) / 645120)));
        r.versine = T(0.5) - x * (T(1) / 24 - x * (T(1) / 720 - x * (T(1) / 40320 - x * (T(1) / 3628800))));
        r.rest = T(1) / 6 - x * (T(1) / 120 - x * (T(1) / 5040 - x * (T(1) / 362880 - x * (T(1) / 39916800))));
        return r;
    }
    r.half_sine = wp::sin(T(0.5) * a) / a;
    r.versine = (T(1) - wp::cos(a)) / x;
    r.rest = (a - wp::sin(a)) / (a * x);
    return r;
}
DS_FN T square_of(V3 a) { return get(dot(a, a), 0); }
// the quaternion of a rotation vector
DS_FN Quat rotation_by(V3 a)
{
    Angle t = angle(square_of(a));
    V3 v = a * splat(t.half_sine);
    return {splat(t.half_cosine), v.x, v.y, v.z};
}
// From the cotangent of the turn that the rotation vector a makes, to that of a.
DS_FN V3 rotation_by_vjp(V3 a, V3 g)
{
    T x = square_of(a);
    Angle t = angle(x);
    return g * splat(T(1) - x * t.rest) - cross(a, g) * splat(t.versine) + a * (dot(a, g) * splat(t.rest));
}

// x of S x = b by Cholesky, where S has its lower triangle row by row.
DS_FN void solve6(const T* S, const T* b, T* x)
{
    T L[TRIANGLE];
    for (int i = 0; i < 6; i++) {
        T* row = L + i * (i + 1) / 2;
        x[i] = b[i];
        for (int j = 0; j <= i; j++) {
            const T* other = L + j * (j + 1) / 2;
            T s = S[i * (i + 1) / 2 + j];
            for (int k = 0; k < j; k++) s -= row[k] * other[k];
            row[j] = j < i ? s / other[j] : wp::sqrt(s);
        }
        for (int k = 0; k < i; k++) x[i] -= row[k] * x[k];
        x[i] /= row[i];
    }
    for (int i = 5; i >= 0; i--) {
        for (int k = i + 1; k < 6; k++) x[i] -= L[k * (k + 1) / 2 + i] * x[k];
        x[i] /= L[i * (i + 1) / 2 + i];
    }
}

}  // namespace ds
