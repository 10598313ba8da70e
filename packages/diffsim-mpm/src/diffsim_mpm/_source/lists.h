// On CUDA, the particles of each cell in the order of their numbers, so that a node adds up what they give it always in the
// same order. A particle is in the cell of its lowest node. A sub-step counts, reserves room, lists and sorts, a launch each:
// the room and the list come in any order, and sorting makes them the same again.
#pragma once
#include "scatter.h"

namespace ds {

struct Lists {
    int *counts, *ends, *reserved;    // of a cell: its particles, the end of its room, which first is its start; of a world
    int *cells, *listed, *sorted;     // of a particle: its cell, or -1; the lists of a world, before and after sorting
    T* fields;                        // of a particle: what it adds to a node, FIELD numbers
};
enum { FIELD = 16 };
template <class Args> DS_FN Lists lists_of(const Args& a)
{
    return {a.counts, a.ends, a.reserved, a.cells, a.listed, a.sorted, a.fields};
}

DS_FN void put_field(T* to, const Field& field, V3 f)
{
    const M3& A = field.a;
    T numbers[FIELD] = {field.p.x, field.p.y, field.p.z, A.c[0].x, A.c[0].y, A.c[0].z, A.c[1].x, A.c[1].y, A.c[1].z,
                        A.c[2].x,  A.c[2].y,  A.c[2].z,  field.fourth, f.x, f.y, f.z};
    for (int k = 0; k < FIELD; k++) to[k] = numbers[k];
}
DS_FN T weight(T f, int i)
{
    T a = T(0.5) + T(i - 1) * f;
    return i == 1 ? T(0.75) - f * f : T(0.5) * a * a;
}

// Stages, in their order. `cell`: of all worlds, as nodes are numbered; particles of a world begin at `first`.
DS_FN void clear_cell(const Lists& l, int cell, int nodes)
{
    l.counts[cell] = 0;
    if (cell % nodes == 0) l.reserved[cell / nodes] = 0;
}
DS_FN void count_particle(const Lists& l, int particle, int cell)
{
    l.cells[particle] = cell;
    if (cell >= 0) wp::atomic_add(l.counts + cell, 1);
}
DS_FN void reserve_cell(const Lists& l, int cell, int nodes)
{
    int count = l.counts[cell];
    if (count) l.ends[cell] = wp::atomic_add(l.reserved + cell / nodes, count);
}
DS_FN void list_particle(const Lists& l, int particle, int first)
{
    int cell = l.cells[particle];
    if (cell >= 0) l.listed[first + wp::atomic_add(l.ends + cell, 1)] = particle;
}
DS_FN void sort_particle(const Lists& l, int particle, int first)
{
    int cell = l.cells[particle];
    if (cell < 0) return;
    int end = first + l.ends[cell], start = end - l.counts[cell], before = 0;
    for (int k = start; k < end; k++) before += l.listed[k] < particle;
    l.sorted[start + before] = particle;
}

// What the particles around a node add to it; `node` is numbered as cells are, and (x, y, z) are its numbers on the grid.
DS_FN void add_fields(const Lists& l, const Box& box, int node, int x, int y, int z, int first, T* to)
{
    V3 sum = zero3();
    T fourth = T(0);
    for (int i = 0; i < 3 && i <= x; i++)
        for (int j = 0; j < 3 && j <= y; j++)
            for (int k = 0; k < 3 && k <= z; k++) {
                int cell = node - (i * box.count[1] + j) * box.count[2] - k, count = l.counts[cell];
                if (!count) continue;
                int end = first + l.ends[cell];
                for (int at = end - count; at < end; at++) {
                    const T* n = l.fields + size_t(FIELD) * l.sorted[at];
                    T w = weight(n[13], i) * weight(n[14], j) * weight(n[15], k);
                    Field field = {{n[0], n[1], n[2]}, {{{n[3], n[4], n[5]}, {n[6], n[7], n[8]}, {n[9], n[10], n[11]}}}, n[12]};
                    sum = sum + Field::at(field, T(i - 1), T(j - 1), T(k - 1)) * w;
                    fourth += field.fourth * w;
                }
            }
    to[0] = sum.x, to[1] = sum.y, to[2] = sum.z, to[3] = fourth;
}

}  // namespace ds
