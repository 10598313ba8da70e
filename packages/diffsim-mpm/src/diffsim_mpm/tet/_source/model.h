// What a simulator of tetrahedra is made for: two flat tables, written by tet/_pack.py, and numbers of a block of worlds.
#pragma once
#ifdef __clang__
#pragma clang fp contract(fast)  // fuses a b + c across the operators of vectors, as NVRTC does anyway
#endif
#include "algebra.h"
#include "block.h"

namespace ds {

// the header of the integers, and the first reals
enum { I_NODES, I_TETS, I_CONTROLS, I_CAPSULES, I_GROUND, I_COLUMNS };
enum { C_GRAVITY = 0, C_KE = 3, C_KD, C_KF, C_MU, C_RADIUS, C_HEIGHT, C_COLUMNS };
// columns of an element: S = Dm Dm^T with Dm the inverse of its edges at rest, in the order xx yy zz xy xz yz; the inverse
// of their determinant; and k_mu, k_lambda, k_damp times the volume
enum { E_S = 0, E_DET = 6, E_MU, E_LAMBDA, E_DAMP, E_COLUMNS };
enum { E_ACTUATOR = 4, EI_COLUMNS };

struct Model {
    int nodes, tets, controls, capsules;
    bool ground;
    const int* tet;         // [tets][EI_COLUMNS] four nodes, and the number of the control or -1
    const T *c, *element;   // constants; [tets][E_COLUMNS]
    const T *mass, *thick;  // inverse mass of each node; radius of each capsule, a node's included
};
DS_FN Model unpack(const int* i, const T* r)
{
    const T *element = r + C_COLUMNS, *mass = element + i[I_TETS] * E_COLUMNS;
    return {i[I_NODES], i[I_TETS], i[I_CONTROLS], i[I_CAPSULES], i[I_GROUND] != 0, i + I_COLUMNS, r, element, mass,
            mass + i[I_NODES]};
}

// Numbers of the worlds of a block in scratch. On a CPU those of a lane lie together; where a lane is one world, the worlds
// of one number do.
struct Field {
    T* at;
    size_t worlds;
};
DS_FN size_t stride(const Field& f) { return DS_LANES > 1 ? size_t(DS_LANES) : f.worlds; }
DS_FN R get(const Field& f, int i) { return read(f.at + i * stride(f)); }
DS_FN void put(const Field& f, int i, R a) { write(f.at + i * stride(f), a); }
DS_FN V3 get3(const Field& f, int node) { return {get(f, 3 * node), get(f, 3 * node + 1), get(f, 3 * node + 2)}; }
DS_FN void put3(const Field& f, int node, V3 a)
{
    put(f, 3 * node, a.x);
    put(f, 3 * node + 1, a.y);
    put(f, 3 * node + 2, a.z);
}
DS_FN void add3(const Field& f, int node, V3 a) { put3(f, node, get3(f, node) + a); }
// the field that begins `numbers` further on
DS_FN Field after(const Field& f, size_t numbers) { return {f.at + numbers * stride(f), f.worlds}; }
DS_FN Field scratch(T* at, int index, int num_worlds) { return {at + (DS_LANES > 1 ? 0 : index), size_t(num_worlds)}; }
DS_FN void clear(const Field& f, int n)
{
    for (int i = 0; i < n; i++) put(f, i, R{});
}
DS_FN void copy(const Field& from, int n, const Field& to)
{
    for (int i = 0; i < n; i++) put(to, i, get(from, i));
}

// between a field and arrays from outside, row-major [N][n]; past the end a block repeats the last world
DS_FN void load(const Block& b, const T* from, int n, const Field& to)
{
    for (int i = 0; i < n; i++) {
        R a = R{};
        for (int l = 0; l < DS_LANES; l++) set(a, l, from[Block::world(l, b) * n + i]);
        put(to, i, a);
    }
}
DS_FN void store(const Block& b, const Field& from, int n, T* to)
{
    for (int i = 0; i < n; i++) {
        R a = get(from, i);
        for (int l = 0; l < DS_LANES && b.first + l < b.n; l++) to[size_t(b.first + l) * n + i] = get(a, l);
    }
}
DS_FN R load1(const Block& b, const T* from)
{
    R a;
    load(b, from, 1, &a);
    return a;
}

// whether all numbers are at most so large (a NaN fails every comparison)
DS_FN Mask bounded(const Field& f, int n, T limit)
{
    R zero = R{};
    Mask ok = zero == zero;
    for (int i = 0; i < n; i++) ok = ok & (abs_(get(f, i)) <= splat(limit));
    return ok;
}
DS_FN Mask bounded(R a, T limit) { return abs_(a) <= splat(limit); }
// a factor of a constant makes sense
DS_FN Mask sound(R a) { return (a > R{}) & (a <= splat(DS_HUGE)); }
DS_FN Mask flagged(const Block& b, const int* ok)
{
    R flag = R{};
    for (int l = 0; l < DS_LANES; l++) set(flag, l, T(ok[Block::world(l, b)]));
    return flag > R{};
}

}  // namespace ds
