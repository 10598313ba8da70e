// What the engine makes of a state, for tests and for users who ask: M (packed rows), the generalised force (actuators,
// springs, contact, minus h), qdd, and the number of contact points below the ground.
#pragma once
#include "step.h"

namespace ds {

DS_ITEM void probe(int index, const ProbeArgs& args)
{
    Block b = block(index, args.num_worlds);
    Reals reals;
    Mask ok;
    Model m = read_model(b, args.integers, args.reals, args.params, reals, ok);
    State s;
    R control[DS_MAX_NU], act[DS_MAX_NA], qdd[DS_MAX_NV];
    Kinematics k;
    Factor M;
    Damping C;
    load_state(m, b, args.q, args.qd, s);
    load(b, args.act, activations(m), act);
    load(b, args.u, m.nu, control);
    actuate(m, control, qdd);
#if DS_IMPLICIT
    clear(m, C);
#endif
    if (DS_SERVOS) servo_forces(m, s, control, qdd, C);
    // a sub-step of no length: the forces as they are, and M alone
    equations_of_motion(m, s, {control, act}, T(0), k, qdd, M, C);
    R count[1] = {R{}};
    for (int c = 0; c < m.nc; c++) {
        R d = contact_point(m, k, m.contact[c], m.contactr + c * CR_COLUMNS).d;
        count[0] = count[0] + select(d < R{}, splat(T(1)), R{});
    }
    count[0] = count[0] + surfaces_touching(m, k) + pairs_touching(m, k);
    store(b, count, 1, args.touching);
    store(b, M.m, own_rows(m).nm, args.mass);
    store_velocities(m, b, qdd, args.force);
    factorise(own_rows(m), M);
    accelerations(m, s, M, qdd);
    store_velocities(m, b, qdd, args.qdd);
}

}  // namespace ds
