// The model as the kernels read it: two flat arrays, one of integers and one of reals, written by
// RigidDynamics (rigid/_pack.py names the same columns). DS_MAX_* bound the local arrays, nothing else: one
// compiled module serves every model of its size class.
#pragma once
#include "contact_tables.h"
#include "coupled_tables.h"
#include "loop_tables.h"
#include "muscle_tables.h"
#include "passive_tables.h"
#include "spin_tables.h"

namespace ds {

// the header of the integers
enum {
    H_NL, H_NQ, H_NV, H_NU, H_NC, H_NM, H_CONTACT_LAW, H_NS,
    H_PARAMETERS, H_ENTRIES, H_REALS, H_ENTRIES_AT, H_COEFFICIENTS_AT,
    H_COUPLED_AT, H_COUPLED_REALS_AT,
    H_MUSCLES_AT, H_MUSCLE_REALS_AT, H_PASSIVE_AT, H_PASSIVE_REALS_AT, H_LOOPS_AT, H_LOOP_REALS_AT,
    H_TOTALS_AT, H_TOTALS_REALS_AT, H_SPINS_AT, H_SPIN_REALS_AT,
    H_COLUMNS = 32  // two for each part with tables of its own, see _PARTS in _pack.py
};
// the first reals
enum { G_GRAVITY = 0, G_GROUND = 3, G_FRICTION_WIDTH, G_COLUMNS };

// columns of the integer table of links; L_TYPE is a number that joints.h knows, see DS_JOINTS there; L_WORLD says how many
// of a joint's velocities, from L_DOF, are its link's in the world, and L_TURNS how many follow, from L_TURN; L_LIMITED whether
// the limits of its one coordinate have dampers; L_BENT whether its turning is limited to what a sub-step resolves, see turns.h
enum {
    L_PARENT, L_TYPE, L_Q, L_DOF, L_ORIGIN, L_ROTATED, L_MASSIVE, L_STIFF, L_WORLD, L_TURN, L_TURNS, L_LIMITED, L_BENT,
    LI_COLUMNS
};
// columns of the real table of links; L_OWN are the parameters that a type of joint has beyond these
enum {
    L_POS = 0, L_ROT = 3, L_AXIS = 12, L_MASS = 15, L_COM = 16, L_INERTIA = 19, L_STIFFNESS = 25, L_LOWER = 26,
    L_UPPER = 27, L_LIMIT_K = 28, L_REF = 29, L_SPRING = 33, L_LIMIT_C = 37, L_LIMIT_W = 38, L_OWN = 39,
    LR_COLUMNS = L_OWN + DS_JOINT_PARAMETERS
};
// columns of the tables of servos, see actuators.h
enum { S_CONTROL, S_Q, S_DOF, SI_COLUMNS };
enum { S_GAIN, S_OFFSET, S_BY_Q, S_BY_V, S_LOWER, S_UPPER, SR_COLUMNS };

struct Model {
    int nl, nq, nv, nu, nc, nm, ns;  // nm: stored entries of the mass matrix; ns: servos
    int contact_law;                 // a number that contact.h knows, see DS_LAWS there
    const int* link;      // [nl][LI_COLUMNS]
    const int* depth;     // [nv] number of ancestors of a degree of freedom
    const int* row;       // [nv] first entry of its row of the mass matrix
    const int* ancestor;  // [nm] degree of freedom of each entry, by depth
    const int* actuator;  // [nu] degree of freedom
    const int* servo;     // [ns][SI_COLUMNS]
    const int* contact;   // [nc] link
    const P* reals;       // all of the following
    const P* linkr;       // [nl][LR_COLUMNS]
    const P* armature;    // [nv]
    const P* damping;     // [nv] viscous, limit damping of the released law included
    const P* friction;    // [nv] dry, see losses.h
    const P* gear;        // [nu]
    const P* servor;      // [ns][SR_COLUMNS]
    const P* contactr;    // [nc][CR_COLUMNS]
    const P* touchr;      // [surface points, then pairs][CR_COLUMNS]
    P gravity[3], ground;
    Contacts contacts;
#if DS_MUSCLES
    Muscles muscles;
#endif
#if DS_PASSIVE
    Passive passive;
#endif
#if DS_LOOPS
    Loops loops;
#endif
#if DS_COUPLED
    Coupled coupled;
#endif
#if DS_SERVO_TOTALS
    const T* totals;  // [nv][2] bounds of the sum of a degree of freedom's servos
#endif
#if DS_SPINS
    Spins spins;
#endif
    bool places;  // whether anything asks where in x and y a link is
};

// r: the reals; rest: those of contact_tables.h, muscle_tables.h and passive_tables.h, which follow them
DS_FN Model unpack(const int* i, const P* r, const T* rest)
{
    Model m;
    m.nl = i[H_NL], m.nq = i[H_NQ], m.nv = i[H_NV], m.nu = i[H_NU], m.nc = i[H_NC], m.nm = i[H_NM], m.ns = i[H_NS];
    m.contact_law = i[H_CONTACT_LAW];
    m.link = i + H_COLUMNS;
    m.depth = m.link + m.nl * LI_COLUMNS;
    m.row = m.depth + m.nv;
    m.ancestor = m.row + m.nv;
    m.actuator = m.ancestor + m.nm;
    m.servo = m.actuator + m.nu;
    m.contact = m.servo + m.ns * SI_COLUMNS;
    m.reals = r;
    for (int k = 0; k < 3; k++) m.gravity[k] = r[G_GRAVITY + k];
    m.ground = r[G_GROUND];
    m.linkr = r + G_COLUMNS;
    m.armature = m.linkr + m.nl * LR_COLUMNS;
    m.damping = m.armature + m.nv;
    m.friction = m.damping + m.nv;
    m.gear = m.friction + m.nv;
    m.servor = m.gear + m.nu;
    const P* places = m.servor + m.ns * SR_COLUMNS;
    m.contactr = places + i[i[H_LOOPS_AT]] * 3;
    m.touchr = m.contactr + m.nc * CR_COLUMNS;
    m.contacts = unpack_contacts(m.contact + m.nc, rest);
    m.places = m.contacts.places;
#if DS_MUSCLES
    m.muscles = unpack_muscles(i + i[H_MUSCLES_AT], rest + i[H_MUSCLE_REALS_AT]);
    m.places = m.places || m.muscles.apart;
#endif
#if DS_PASSIVE
    m.passive = unpack_passive(i + i[H_PASSIVE_AT], rest + i[H_PASSIVE_REALS_AT]);
#endif
#if DS_LOOPS
    m.loops = unpack_loops(i + i[H_LOOPS_AT], places, rest + i[H_LOOP_REALS_AT]);
    m.places = m.places || m.loops.apart;
#endif
#if DS_COUPLED
    m.coupled = unpack_coupled(i + i[H_COUPLED_AT], rest + i[H_COUPLED_REALS_AT]);
#endif
#if DS_SERVO_TOTALS
    m.totals = rest + i[H_TOTALS_REALS_AT];
#endif
#if DS_SPINS
    m.spins = unpack_spins(i + i[H_SPINS_AT], rest + i[H_SPIN_REALS_AT]);
#endif
    return m;
}

// number of activations, known to the compiler where there are none
DS_FN int activations(const Model& m)
{
#if DS_MUSCLES
    return m.muscles.na;
#else
    return 0;
#endif
}

struct State {
    R q[DS_MAX_NQ], v[DS_MAX_NV];
};
// sparse rows of the mass matrix, or of its factor
struct Factor {
    R m[DS_MAX_NM];
};
DS_FN Quat quat(const R* q) { return {q[0], q[1], q[2], q[3]}; }
DS_FN V3 vec(const R* a) { return {a[0], a[1], a[2]}; }
DS_FN void put(R* a, V3 b) { a[0] = b.x, a[1] = b.y, a[2] = b.z; }
DS_FN void add(R* a, V3 b) { a[0] = a[0] + b.x, a[1] = a[1] + b.y, a[2] = a[2] + b.z; }
DS_FN void put(R* a, Quat b) { a[0] = b.w, a[1] = b.x, a[2] = b.y, a[3] = b.z; }
DS_FN void add(R* a, Quat b) { a[0] = a[0] + b.w, a[1] = a[1] + b.x, a[2] = a[2] + b.y, a[3] = a[3] + b.z; }

#if DS_PARAMS
// the cotangent of a real of the model, by its place
DS_FN void accumulate(const Model& m, R* bar, const P* real, R by) { bar[real - m.reals] = bar[real - m.reals] + by; }
#endif

// A number that no generated case has. None can come here: rigid/_pack.py takes each number from the list that the cases
// were generated from, and refuses a type or law that is not in it by name.
DS_FN void unknown_type()
{
#ifndef __CUDACC__
    __builtin_unreachable();
#endif
}

}  // namespace ds
