// The free rigid bodies of a world in a control step; nothing where the model has none.
#pragma once
#include "obstacles.h"
#if MPM_RIGID
#include "rigid_motion.h"
#include "rigid_nodes.h"
#endif

namespace ds {

#if MPM_RIGID
// `room`: rigid_numbers() numbers of this world
template <class Args> DS_FN Rigid rigid_of(const Args& a, int world, const Model& m, T* room)
{
    Rigid g = read_rigid(a.rigid_integers, a.rigid_reals);
    place_rigid(g, room, m.head[I_SUBSTEPS]);
    g.loads = a.load ? a.load + size_t(6) * world * g.count : nullptr;
    return g;
}
template <class Args> DS_FN void begin_rigid(const Args& a, int world, const Model& m, T* room, Rigid& g)
{
    g = rigid_of(a, world, m, room);
    load_bodies(a, world, g);
}
DS_FN void give_way_to_all(const Rigid& g, V3 x, R mass, V3& v) { give_way_all(g, g.count, x, mass, v); }
template <class Args> DS_FN void start_rigid(const Args& a, int world, const Model& m, const Obstacles& o, int k, Rigid& g)
{
    at_sub_step(g, k);
    masses_of(m, a.params, world, g);
    begin_bodies(m, o, g);
}
DS_FN void end_rigid(const Model& m, const Rigid& g) { end_bodies(m, g); }
DS_FN bool rigid_within(const Rigid& g, const Model& m, int k) { return bodies_within(g, g.states + k * g.count, m.limit); }
template <class Args> DS_FN void store_rigid(const Args& a, int world, const Model& m, bool ok, const Rigid& g)
{
    store_bodies(a, world, ok, g.states + m.head[I_SUBSTEPS] * g.count, g);
}
template <class Args> DS_FN void begin_rigid_vjp(const Args& a, int world, const Model& m, const Rigid& g)
{
    load_bodies_vjp(a, world, g.states + m.head[I_SUBSTEPS] * g.count, g);
}
DS_FN void end_rigid_vjp(const Model& m, int k, Rigid& g)
{
    at_sub_step(g, k);
    end_bodies_vjp(m, g);
}
DS_FN void start_rigid_vjp(const Model& m, const Obstacles& o, const Rigid& g) { begin_bodies_vjp(m, o, g); }
// also those of masses and inertias, to their places among the parameters
template <class Args> DS_FN void store_rigid_vjp(const Args& a, int world, const Model& m, bool ok, const Rigid& g)
{
    store_bodies_vjp(a, world, ok, g);
    for (int i = 0, chosen = m.head[I_CHOSEN]; i < chosen; i++) {
        int k = m.chosen[i] - g.param;
        if (k < 0 || k >= MASSES * g.count) continue;
        a.gparams[size_t(world) * chosen + i] = ok ? g.bars[k / MASSES].mass[k % MASSES] : T(0);
    }
}
#else
struct Rigid {};
template <class Args> DS_FN void begin_rigid(const Args&, int, const Model&, T*, Rigid&) {}
DS_FN void give_way_to_all(const Rigid&, V3, R, V3&) {}
template <class Args> DS_FN void start_rigid(const Args&, int, const Model&, const Obstacles&, int, Rigid&) {}
DS_FN void end_rigid(const Model&, const Rigid&) {}
DS_FN bool rigid_within(const Rigid&, const Model&, int) { return true; }
template <class Args> DS_FN void store_rigid(const Args&, int, const Model&, bool, const Rigid&) {}
template <class Args> DS_FN void begin_rigid_vjp(const Args&, int, const Model&, const Rigid&) {}
DS_FN void end_rigid_vjp(const Model&, int, Rigid&) {}
DS_FN void start_rigid_vjp(const Model&, const Obstacles&, const Rigid&) {}
template <class Args> DS_FN void store_rigid_vjp(const Args&, int, const Model&, bool, const Rigid&) {}
#endif

}  // namespace ds
