// Gravity compensation: an upward force at the centre of mass of each body that has some. The bodies of a link are welded,
// so theirs add up to a part of the link's weight, and an offset of where it acts times that part.
#pragma once
#include "touch.h"

namespace ds {

#if DS_PASSIVE
// first moment of what is held, for each kilogram of the link, about its reference point
DS_FN V3 held_moment(const Kinematics& k, const P* link, const T* held, int i)
{
    return (k.r[i] + rotate(k.E[i], link + L_COM)) * splat(held[GC_PART]) + rotate(k.E[i], held + GC_OFFSET);
}

// subtract the wrenches from F, link by link; up: minus gravity
DS_FN void gravcomp_forces(const Model& m, const Kinematics& k, V3 up, SV* F)
{
    for (int j = 0; j < m.passive.held; j++) {
        int i = m.passive.link[j];
        const T* held = m.passive.linkr + j * GCR_COLUMNS;
        const P* link = m.linkr + i * LR_COLUMNS;
        V3 f = up * splat(link[L_MASS]);
        F[i] = F[i] - SV{cross(held_moment(k, link, held, i), f), f * splat(held[GC_PART])};
    }
}

// psi = -X . wrench
DS_FN void gravcomp_vjp(const Model& m, const Kinematics& k, V3 up, const SV* X, LinkBar* bar)
{
    for (int j = 0; j < m.passive.held; j++) {
        int i = m.passive.link[j];
        const T* held = m.passive.linkr + j * GCR_COLUMNS;
        const P* link = m.linkr + i * LR_COLUMNS;
        V3 f = up * splat(link[L_MASS]), h = held_moment(k, link, held, i);
        V3 x = X[i].v * splat(held[GC_PART]) + cross(X[i].w, h);
        bar[i].X = bar[i].X - SV{cross(h, f), f * splat(held[GC_PART])};
        bar[i].W.w = bar[i].W.w - cross(x, f);
    }
}

#if DS_PARAMS
// mass, centre of mass and gravity
DS_FN void gravcomp_parameters_vjp(const Model& m, const Kinematics& k, V3 up, const SV* X, R* bar)
{
    for (int j = 0; j < m.passive.held; j++) {
        int i = m.passive.link[j];
        const T* held = m.passive.linkr + j * GCR_COLUMNS;
        const P* link = m.linkr + i * LR_COLUMNS;
        V3 x = X[i].v * splat(held[GC_PART]) + cross(X[i].w, held_moment(k, link, held, i));
        accumulate(m, bar, link + L_MASS, dot(x, up));
        V3 along = cross(up, X[i].w) * (splat(held[GC_PART]) * link[L_MASS]);
        for (int a = 0; a < 3; a++) accumulate(m, bar, link + L_COM + a, dot(k.E[i].c[a], along));
        accumulate(m, bar, m.reals + G_GRAVITY, -(x.x * link[L_MASS]));
        accumulate(m, bar, m.reals + G_GRAVITY + 1, -(x.y * link[L_MASS]));
        accumulate(m, bar, m.reals + G_GRAVITY + 2, -(x.z * link[L_MASS]));
    }
}
#endif
#endif

}  // namespace ds
