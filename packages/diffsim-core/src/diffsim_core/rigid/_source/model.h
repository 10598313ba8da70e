// The model as the kernels read it: two flat arrays, one of integers and one of reals, written by
// RigidDynamics (rigid/_pack.py names the same columns). DS_MAX_* bound the local arrays, nothing else: one
// compiled module serves every model of its size class.
#pragma once
#include "contact_tables.h"
#include "muscle_tables.h"
#include "muscle_tables.h"

namespace ds {

enum Joint { FREE = 0, BALL = 1, SLIDE = 2, HINGE = 3 };

// columns of the integer table of links
enum { L_PARENT, L_TYPE, L_Q, L_DOF, L_ORIGIN, L_ROTATED, L_MASSIVE, L_STIFF, LI_COLUMNS };
// columns of the real table of links
enum {
    L_POS = 0, L_ROT = 3, L_AXIS = 12, L_MASS = 15, L_COM = 16, L_INERTIA = 19, L_REF = 25, L_STIFFNESS = 26,
    L_SPRING = 27, L_LOWER = 31, L_UPPER = 32, L_LIMIT_K = 33, LR_COLUMNS = 34
};
// columns of the tables of servos, see actuators.h
enum { S_CONTROL, S_Q, S_DOF, SI_COLUMNS };
enum { S_GAIN, S_OFFSET, S_BY_Q, S_BY_V, S_LOWER, S_UPPER, SR_COLUMNS };

enum { HEADER = 10 };  // sizes, and where the muscles' tables begin

struct Model {
    int nl, nq, nv, nu, nc, nm, ns;  // nm: stored entries of the mass matrix; ns: servos
    int contact_released;
    const int* link;      // [nl][LI_COLUMNS]
    const int* depth;     // [nv] number of ancestors of a degree of freedom
    const int* row;       // [nv] first entry of its row of the mass matrix
    const int* ancestor;  // [nm] degree of freedom of each entry, by depth
    const int* actuator;  // [nu] degree of freedom
    const int* servo;     // [ns][SI_COLUMNS]
    const int* contact;   // [nc] link
    const T* linkr;       // [nl][LR_COLUMNS]
    const T* armature;    // [nv]
    const T* damping;     // [nv] viscous, limit damping of the released law included
    const T* gear;        // [nu]
    const T* servor;      // [ns][SR_COLUMNS]
    const T* contactr;    // [nc][CR_COLUMNS]
    T gravity[3], ground;
    Contacts contacts;
    Muscles muscles;
    bool places;  // whether anything asks where in x and y a link is
};

DS_FN Model unpack(const int* i, const T* r)
{
    Model m;
    m.nl = i[0], m.nq = i[1], m.nv = i[2], m.nu = i[3], m.nc = i[4], m.nm = i[5], m.contact_released = i[6];
    m.ns = i[7];
    m.muscles = unpack_muscles(i + i[8], r + i[9]);
    m.link = i + HEADER;
    m.depth = m.link + m.nl * LI_COLUMNS;
    m.row = m.depth + m.nv;
    m.ancestor = m.row + m.nv;
    m.actuator = m.ancestor + m.nm;
    m.servo = m.actuator + m.nu;
    m.contact = m.servo + m.ns * SI_COLUMNS;
    m.gravity[0] = r[0], m.gravity[1] = r[1], m.gravity[2] = r[2], m.ground = r[3];
    m.linkr = r + 4;
    m.armature = m.linkr + m.nl * LR_COLUMNS;
    m.damping = m.armature + m.nv;
    m.gear = m.damping + m.nv;
    m.servor = m.gear + m.nu;
    m.contactr = m.servor + m.ns * SR_COLUMNS;
    m.contacts = unpack_contacts(m.contact + m.nc, m.contactr + m.nc * CR_COLUMNS);
    m.places = m.contacts.places || m.muscles.apart;
    return m;
}

struct State {
    R q[DS_MAX_NQ], v[DS_MAX_NV];
};
DS_FN Quat quat(const R* q) { return {q[0], q[1], q[2], q[3]}; }
DS_FN V3 vec(const R* a) { return {a[0], a[1], a[2]}; }
DS_FN void put(R* a, V3 b) { a[0] = b.x, a[1] = b.y, a[2] = b.z; }
DS_FN void add(R* a, V3 b) { a[0] = a[0] + b.x, a[1] = a[1] + b.y, a[2] = a[2] + b.z; }
DS_FN void put(R* a, Quat b) { a[0] = b.w, a[1] = b.x, a[2] = b.y, a[3] = b.z; }
DS_FN void add(R* a, Quat b) { a[0] = a[0] + b.w, a[1] = a[1] + b.x, a[2] = a[2] + b.y, a[3] = a[3] + b.z; }

}  // namespace ds
