// Calls shapes, coupling and chains on arrays, for tests: items are lanes of nodes of one world, and worlds.
#pragma once
#include "chain.h"
#include "coupling.h"

namespace ds {

DS_FN V3 node(const T* from, int item) 
{
    V3 a;
    for (int l = 0; l < DS_LANES; l++) {
        const T* row = from + 3 * (item * DS_LANES + l);
        set(a.x, l, row[0]);
        set(a.y, l, row[1]);
        set(a.z, l, row[2]);
    }
    return a;
}
DS_FN void put(T* to, int item, V3 a)
{
    for (int l = 0; l < DS_LANES; l++) {
        T* row = to + 3 * (item * DS_LANES + l);
        row[0] = get(a.x, l);
        row[1] = get(a.y, l);
        row[2] = get(a.z, l);
    }
}
// the shapes whose balls meet the box about the nodes of this item
DS_FN Shapes listed(const Shapes& all, const T* pose, const T* x, int item, int* room)
{
    T low[3], high[3];
    for (int a = 0; a < 3; a++) {
        low[a] = high[a] = x[3 * item * DS_LANES + a];
        for (int l = 1; l < DS_LANES; l++) {
            T at = x[3 * (item * DS_LANES + l) + a];
            low[a] = at < low[a] ? at : low[a];
            high[a] = at > high[a] ? at : high[a];
        }
    }
    return shapes_near(all, pose, low, high, room);
}

DS_ITEM void probe_collide(int item, const CollideArgs& args)
{
    int room[DS_MAX_SHAPES];
    Shapes s = listed(read_chain(args.integers, args.reals).shapes, args.pose, args.x, item, room);
    V3 v = node(args.v, item);
    collide(s, args.pose, args.pose_next, args.dt, node(args.x, item), read(args.mass + item * DS_LANES), v, (Sum*)args.impulse);
    put(args.v_out, item, v);
}
DS_ITEM void probe_collide_vjp(int item, const CollideVjpArgs& args)
{
    int room[DS_MAX_SHAPES];
    Shapes s = listed(read_chain(args.integers, args.reals).shapes, args.pose, args.x, item, room);
    V3 gv;
    R gmass = R{};
    collide_vjp(s, args.pose, args.pose_next, args.dt, node(args.x, item), read(args.mass + item * DS_LANES), node(args.v, item),
                node(args.gv_out, item), args.gimpulse, gv, gmass, (Sum*)args.gpose, (Sum*)args.gpose_next);
    put(args.gv, item, gv);
    write(args.gmass + item * DS_LANES, gmass);
}

#if DS_LANES == 1
DS_ITEM void probe_total(int item, const TotalArgs& args) { args.total[item] = total(((const Sum*)args.sums)[item]); }
DS_ITEM void probe_add(int item, const TotalArgs& args) { add_to((Sum*)args.sums, args.total[item]); }
#else
DS_ITEM void probe_total(int item, const TotalArgs& args) { args.total[item] = args.sums[item]; }
DS_ITEM void probe_add(int item, const TotalArgs& args) { *args.sums += args.total[item]; }
#endif
DS_ITEM void probe_chain(int world, const ChainArgs& args)
{
    Chain c = read_chain(args.integers, args.reals);
    T q[DS_MAX_JOINTS];
    joints_at(c, args.q + world * c.joints, args.u + world * c.joints, args.fraction, q);
    chain_poses(c, q, args.pose + world * 12 * c.shapes.count);
}
DS_ITEM void probe_chain_vjp(int world, const ChainArgs& args)
{
    Chain c = read_chain(args.integers, args.reals);
    T q[DS_MAX_JOINTS], g[DS_MAX_JOINTS];
    for (int j = 0; j < c.joints; j++) g[j] = T(0);
    joints_at(c, args.q + world * c.joints, args.u + world * c.joints, args.fraction, q);
    chain_poses_vjp(c, q, args.pose + world * 12 * c.shapes.count, g);
    joints_at_vjp(c, args.q + world * c.joints, args.u + world * c.joints, args.fraction, g, args.gq + world * c.joints,
                  args.gu + world * c.joints);
}

}  // namespace ds
