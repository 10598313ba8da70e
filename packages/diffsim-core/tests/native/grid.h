// A small engine for tests: particles leave what they carry on a grid, the grid is smoothed, and particles read it again.
// Its launches have sizes of their own, share the grid as scratch, and have room of their own for a list of particles.
#pragma once
#include "lanes.h"

namespace ds {

DS_ITEM void clear(int cell, const GridArgs& args) { args.grid[cell] = T(0); }

// last particle first, so that a list is needed
DS_ITEM void scatter(int world, const GridArgs& args)
{
    for (int p = 0; p < args.particles; p++) args.list[p] = args.carried[world * args.particles + p];
    for (int p = args.particles - 1; p >= 0; p--) {
        int cell = args.cell[world * args.particles + p];
        args.grid[world * args.cells + cell] += args.list[p] * args.weight;
    }
}

// from one half of the grid to the other, and back in the next turn
DS_ITEM void smooth(int cell, const SmoothArgs& args)
{
    int half = args.num_worlds * args.cells, first = cell / args.cells * args.cells, at = cell - first;
    const T* from = args.grid + (args.turn % 2) * half + first;
    T* to = args.grid + ((args.turn + 1) % 2) * half + first;
    to[at] = T(0.5) * (from[(at + 1) % args.cells] + from[(at + args.cells - 1) % args.cells]);
}

DS_ITEM void gather(int particle, const GridArgs& args)
{
    int world = particle / args.particles;
    args.out[particle] = args.grid[world * args.cells + args.cell[particle]];
}

}  // namespace ds
