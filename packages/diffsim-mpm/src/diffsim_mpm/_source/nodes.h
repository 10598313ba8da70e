// Grid nodes and particles as a CPU's registers hold them. A node is four numbers in a row, (momentum, mass) or
// (velocity, 0). A register R holds as many whole nodes as fit; a block of DS_LANES particles or nodes is also held lane by
// lane, one register for each number. CUDA needs none of this: there a register is a number.
#pragma once
#include "lanes.h"

namespace ds {

#if DS_LANES > 1
typedef int Ints __attribute__((vector_size(DS_LANES * sizeof(int))));
DS_FN Ints to_ints(R a) { return __builtin_convertvector(a, Ints); }
DS_FN R lane_numbers()
{
    R a;
    for (int l = 0; l < DS_LANES; l++) a[l] = T(l);
    return a;
}

#if DS_LANES == 8
typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T))));

// four numbers, once for each node of a register
DS_FN R spread4(const T* p)
{
    Four a = *(const Four*)p;
    return __builtin_shufflevector(a, a, 0, 1, 2, 3, 0, 1, 2, 3);
}
// the sum over the nodes of a register
DS_FN void gather4(R a, T* to)
{
    Four low = __builtin_shufflevector(a, a, 0, 1, 2, 3), high = __builtin_shufflevector(a, a, 4, 5, 6, 7);
    *(Four*)to = low + high;
}
// a, b, c for three nodes in a row, four times each; the fourth node, which is not of the row, gets zero
enum { ROW = 2 };
DS_FN void per_node(T a, T b, T c, R* to)
{
    to[0] = __builtin_shufflevector(splat(a), splat(b), 0, 1, 2, 3, 12, 13, 14, 15);
    to[1] = __builtin_shufflevector(splat(c), R{}, 0, 1, 2, 3, 12, 13, 14, 15);
}
// numbers of nodes, node by node at `from`, to one register for each of the four numbers
DS_FN void from_nodes(const T* from, R* to)
{
    R a = read(from), b = read(from + 8), c = read(from + 16), d = read(from + 24);
    R xy = __builtin_shufflevector(a, b, 0, 4, 8, 12, 1, 5, 9, 13);
    R zw = __builtin_shufflevector(a, b, 2, 6, 10, 14, 3, 7, 11, 15);
    R XY = __builtin_shufflevector(c, d, 0, 4, 8, 12, 1, 5, 9, 13);
    R ZW = __builtin_shufflevector(c, d, 2, 6, 10, 14, 3, 7, 11, 15);
    to[0] = __builtin_shufflevector(xy, XY, 0, 1, 2, 3, 8, 9, 10, 11);
    to[1] = __builtin_shufflevector(xy, XY, 4, 5, 6, 7, 12, 13, 14, 15);
    to[2] = __builtin_shufflevector(zw, ZW, 0, 1, 2, 3, 8, 9, 10, 11);
    to[3] = __builtin_shufflevector(zw, ZW, 4, 5, 6, 7, 12, 13, 14, 15);
}
// and back
DS_FN void to_nodes(const R* from, T* to)
{
    R x = from[0], y = from[1], z = from[2], w = from[3];
    R xy = __builtin_shufflevector(x, y, 0, 8, 1, 9, 4, 12, 5, 13);
    R zw = __builtin_shufflevector(z, w, 0, 8, 1, 9, 4, 12, 5, 13);
    R XY = __builtin_shufflevector(x, y, 2, 10, 3, 11, 6, 14, 7, 15);
    R ZW = __builtin_shufflevector(z, w, 2, 10, 3, 11, 6, 14, 7, 15);
    write(to, __builtin_shufflevector(xy, zw, 0, 1, 8, 9, 2, 3, 10, 11));
    write(to + 8, __builtin_shufflevector(XY, ZW, 0, 1, 8, 9, 2, 3, 10, 11));
    write(to + 16, __builtin_shufflevector(xy, zw, 4, 5, 12, 13, 6, 7, 14, 15));
    write(to + 24, __builtin_shufflevector(XY, ZW, 4, 5, 12, 13, 6, 7, 14, 15));
}
#else
static_assert(DS_LANES == 4, "a register holds one node or two");
enum { ROW = 3 };
DS_FN R spread4(const T* p) { return read(p); }
DS_FN void gather4(R a, T* to) { write(to, a); }
DS_FN void per_node(T a, T b, T c, R* to)
{
    to[0] = splat(a);
    to[1] = splat(b);
    to[2] = splat(c);
}
DS_FN void transpose4(R a, R b, R c, R d, R* to)
{
    R ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    R cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    to[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    to[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    to[2] = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
    to[3] = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}
DS_FN void from_nodes(const T* from, R* to) { transpose4(read(from), read(from + 4), read(from + 8), read(from + 12), to); }
DS_FN void to_nodes(const R* from, T* to)
{
    R rows[4];
    transpose4(from[0], from[1], from[2], from[3], rows);
    for (int l = 0; l < 4; l++) write(to + 4 * l, rows[l]);
}
#endif

#else
typedef int Ints;
DS_FN Ints to_ints(R a) { return int(a); }
DS_FN R lane_numbers() { return T(0); }
DS_FN void from_nodes(const T* from, R* to)
{
    for (int k = 0; k < 4; k++) to[k] = from[k];
}
DS_FN void to_nodes(const R* from, T* to)
{
    for (int k = 0; k < 4; k++) to[k] = from[k];
}
#endif

}  // namespace ds
