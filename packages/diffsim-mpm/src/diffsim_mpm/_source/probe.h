// The stress of particles, and its vector-Jacobian product, for tests, curves and users who ask. A lane holds particles; each
// has parameters of its own.
#pragma once
#include "block.h"
#include "materials.h"

namespace ds {

DS_FN M3 load9(const Block& b, const T* from)
{
    R a[9];
    load(b, from, 9, a);
    return from_rows(a);
}
DS_FN void store9(const Block& b, const M3& A, T* to)
{
    R a[9];
    to_rows(A, a);
    store(b, a, 9, to);
}

DS_ITEM void probe_stress(int index, const StressArgs& args)
{
    Block b = block(index, args.num_worlds);
    R p[DS_MOST_PARAMS], h[1];
    load(b, args.p, args.params, p);
    load(b, args.h, 1, h);
    M3 C = load9(b, args.C), F = load9(b, args.F), tau;
    material_stress(args.material, p, C, F, h[0], tau);
    store9(b, F, args.F_out);
    store(b, h, 1, args.h_out);
    store9(b, tau, args.tau);
}

DS_ITEM void probe_stress_vjp(int index, const StressVjpArgs& args)
{
    Block b = block(index, args.num_worlds);
    R p[DS_MOST_PARAMS], h[1], gh_out[1], gh[1], gp[DS_MOST_PARAMS];
    for (int i = 0; i < DS_MOST_PARAMS; i++) gp[i] = R{};
    load(b, args.p, args.params, p);
    load(b, args.h, 1, h);
    load(b, args.gh_out, 1, gh_out);
    M3 C = load9(b, args.C), F = load9(b, args.F), gC = zero33(), gF;
    material_stress_vjp(args.material, p, C, F, h[0], load9(b, args.gF_out), gh_out[0], load9(b, args.gtau), gC, gF, gh[0], gp);
    store9(b, gF, args.gF);
    store9(b, gC, args.gC);
    store(b, gh, 1, args.gh);
    store(b, gp, args.params, args.gp);
}

}  // namespace ds
