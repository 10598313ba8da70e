// The hand-written adjoint of one sub-step. With residual r(q, qd, qdd) = M qdd + h - tau = 0, the cotangent g of
// qdd gives lambda = M^-1 g, and every other cotangent is minus the gradient of
//     Phi(q, qd) = lambda . r(q, qd, qdd)    at fixed lambda and qdd,
// which one outward and one inward pass over the links deliver: Phi is a sum over links of forces paired with X,
// the velocity field that lambda would produce. Moving joint i carries everything beyond it rigidly, and a rigid
// motion delta of a subtree changes Phi only through the predecessor's V, A and X as the subtree sees them, and
// through the ground. No derivative of M, of its factor or of an inertia is ever formed. See
// docs/development/adjoint.md.
#pragma once
#include "integrate.h"
#include "parameters.h"

namespace ds {

DS_FN void contact_vjp(const Model& m, const Kinematics& k, const SV* X, LinkBar* bar)
{
    R z = R{};
    for (int c = 0; c < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
        if (!any(at.d < splat(m.contacts.back))) continue;
        V3 p = at.p, u = k.V[link].v + cross(k.V[link].w, p), x = X[link].v + cross(X[link].w, p);
        Normal n = normal_force(m, point, at.d, u.z, m.contacts.back);
        Mask inside = at.d < splat(m.contacts.back);
        R inverse = splat(T(1)) / tangential_speed(u);
        R kt = select(inside, splat(point[C_KT]), z), slip = n.bound * inverse, scale = min_(kt, slip);
        Mask slipping = slip < kt;
        // psi = -x . f = scale (x_t . u_t) - x_z f_n
        R work = x.x * u.x + x.y * u.y;
        R by_scale = select(slipping, work * inverse, z);
        R by_ut = -(by_scale * scale * inverse);
        V3 px = {scale * u.x, scale * u.y, -n.force};
        R pd = select(inside, by_scale * n.bound_by_d - x.z * n.by_d, z);
        V3 pu = {scale * x.x + by_ut * u.x, scale * x.y + by_ut * u.y,
                 select(inside, by_scale * n.bound_by_u - x.z * n.by_u, z)};
        LinkBar& b = bar[link];
        b.X.w = b.X.w + cross(p, px);
        b.X.v = b.X.v + px;
        b.V.w = b.V.w + cross(p, pu);
        b.V.v = b.V.v + pu;
        b.W.w = b.W.w + V3{p.y * pd, -(p.x * pd), z} + cross(u, pu) + cross(x, px);
        b.W.v.z = b.W.v.z + pd;
        // the lowest point of a sphere does not turn with the link: its offset -r e_z stays vertical
        V3 e = cross(pu, k.V[link].w) + cross(px, X[link].w);
        b.W.w.x = b.W.w.x - e.y * point[C_RADIUS];
        b.W.w.y = b.W.w.y + e.x * point[C_RADIUS];
    }
}

// g: cotangent of the next state on entry, of this state on exit; gtau: cotangent of the motors' forces, added to;
// gu: that of the controls through servos and muscles, added to; gact: that of the activations, as g; reals: with
// DS_PARAMS, the cotangent of the model's reals, added to; M: its factor as the forward pass left it, or, unless
// factored, room for it
DS_FN void substep_vjp(const Model& m, const State& s, const Drive& drive, const R* qdd, Factor& M, bool factored, T dt,
                       State& g, R* gtau, R* gu, R* gact, R* reals)
{
    integrate_vjp(m, s, qdd, dt, g);
#if DS_MUSCLES
    advance_activations_vjp(m, drive, dt, gu, gact);
#endif
    Kinematics k;
    Inertia I[DS_MAX_NL];
    pose(m, s, k);
    velocities(m, s, k);
    bodies(m, k, I);
    R lambda[DS_MAX_NV];
    for (int d = 0; d < m.nv; d++) lambda[d] = g.v[d] * dt;
    if (!factored) {
        mass_matrix(m, k, I, M);
        factorise(m, M);
    }
    solve(m, M, lambda);
    for (int d = 0; d < m.nv; d++) gtau[d] = gtau[d] + lambda[d];
    if (DS_SERVOS) servo_vjp(m, s, drive.u, lambda, g, gu);

    SV A[DS_MAX_NL], X[DS_MAX_NL];
    LinkBar bar[DS_MAX_NL];
    V3 up = minus_gravity(m);
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        int d = link[L_DOF];
        SV Vp = before(m, link, k.V, s.v + d, zero3());
        A[i] = before(m, link, A, qdd + d, up) + joint_motion(link, k.S, qdd) +
               cross_motion(Vp, joint_motion(link, k.S, s.v));
        X[i] = before(m, link, X, lambda + d, zero3()) + joint_motion(link, k.S, lambda);
        LinkBar& b = bar[i];
        if (link[L_MASSIVE]) {
            SV P = I[i] * k.V[i];
            b.A = I[i] * X[i];
            b.X = I[i] * A[i] + cross_force(k.V[i], P);
            b.V = I[i] * cross_motion(X[i], k.V[i]) - cross_force(X[i], P);
        } else {
            b.A = b.X = b.V = zero6();
        }
        b.W = zero6();
    }
    contact_vjp(m, k, X, bar);
    if (m.contacts.nf) surface_vjp(m, k, X, bar);
    if (m.contacts.np) pair_forces_vjp(m, k, X, bar);
#if DS_MUSCLES
    muscle_vjp(m, k, X, drive, bar, gu, gact);
#endif
#if DS_PARAMS
    force_parameters_vjp(m, s, drive.u, qdd, lambda, reals);
    inertia_parameters_vjp(m, k, A, X, reals);
    contact_parameters_vjp(m, k, X, reals);
#endif

    for (int i = m.nl - 1; i >= 0; i--) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        int type = link[L_TYPE], parent = link[L_PARENT], a = link[L_Q], d = link[L_DOF];
        SV Vp = before(m, link, k.V, s.v + d, zero3());
        SV Ap = before(m, link, A, qdd + d, up);
        SV Xp = before(m, link, X, lambda + d, zero3());
        LinkBar b = bar[i];
        SV by_rate = b.V - cross_force(Vp, b.A);                              // paired with S: d Phi / d qd
        b.V = b.V + cross_force(joint_motion(link, k.S, s.v), b.A);           // cotangent of Vp
        SV by_motion = b.W - cross_force(Vp, b.V) - cross_force(Ap, b.A) - cross_force(Xp, b.X);  // d Phi / d delta
        if (type >= SLIDE) {
            R q = s.q[a], slope = select(q < splat(real[L_LOWER]), splat(-real[L_LIMIT_K]), R{});
            slope = select(q > splat(real[L_UPPER]), splat(-real[L_LIMIT_K]), slope) - real[L_STIFFNESS];
            g.v[d] = g.v[d] - dot(k.S[d], by_rate) - lambda[d] * m.damping[d];
            g.q[a] = g.q[a] - dot(k.S[d], by_motion) + lambda[d] * slope;
        } else {
            if (type == FREE) {
                for (int j = 0; j < 3; j++) g.v[d + j] = g.v[d + j] - lambda[d + j] * m.damping[d + j];
                add(g.v + d, -b.V.v);
                add(g.q + a, -b.W.v);
                a += 3, d += 3;
            }
            R turn[3];
            for (int j = 0; j < 3; j++) {
                g.v[d + j] = g.v[d + j] - dot(k.S[d + j], by_rate) - lambda[d + j] * m.damping[d + j];
                turn[j] = -dot(k.S[d + j], by_motion);
            }
            V3 rotate_by = vec(turn);
            Quat p = quat(s.q + a);
            if (link[L_STIFF]) {
                V3 phi = ball_deflection(real + L_SPRING, s.q + a);
                rotate_by = rotate_by + ball_deflection_vjp(phi, vec(lambda + d) * splat(-real[L_STIFFNESS]));
            }
            R scale = splat(T(2)) / norm2(p);
            add(g.q + a, mul_pure(p, rotate_by * scale));
        }
        if (parent >= 0) {
            LinkBar& up_bar = bar[parent];
            up_bar.V = up_bar.V + b.V;
            up_bar.A = up_bar.A + b.A;
            up_bar.X = up_bar.X + b.X;
            up_bar.W = up_bar.W + b.W;
        }
    }
}

}  // namespace ds
