// What compiled task code is made of: functions of lanes in addition to those of lanes.h, and what surrounds them in a
// step. They agree with the array library where it matters: a NaN stays one, and no bound of an argument is left out.
// Included as text, after block.h.

#ifdef __CUDACC__
#define DS_INFINITY __longlong_as_double(0x7ff0000000000000LL)
#define DS_NAN __longlong_as_double(0x7ff8000000000000LL)
#else
#define DS_INFINITY __builtin_inf()
#define DS_NAN __builtin_nan("")
#endif

namespace ds {

#if DS_LANES == 8
DS_FN R number(T a) { return R{a, a, a, a, a, a, a, a}; }  // unlike splat it is a constant where its argument is one
#elif DS_LANES == 4
DS_FN R number(T a) { return R{a, a, a, a}; }
#else
DS_FN R number(T a) { return a; }
#endif

#if DS_LANES > 1
typedef decltype(Mask{}[0] + Mask{}[0]) MaskLane;
DS_FN Mask not_(Mask m) { return ~m; }
DS_FN bool holds(Mask m, int lane) { return m[lane] != 0; }
DS_FN void mark(Mask& m, int lane, bool yes) { m[lane] = yes ? MaskLane(-1) : MaskLane(0); }
#else
DS_FN Mask not_(Mask m) { return !m; }
DS_FN bool holds(Mask m, int) { return m; }
DS_FN void mark(Mask& m, int, bool yes) { m = yes; }
#endif
DS_FN Mask truth(bool yes)
{
    Mask m;
    for (int l = 0; l < DS_LANES; l++) mark(m, l, yes);
    return m;
}

// The larger and the smaller of two; a NaN if one is.
DS_FN R larger(R a, R b) { return select((a > b) | (a != a), a, b); }
DS_FN R smaller(R a, R b) { return select((a < b) | (a != a), a, b); }
DS_FN R step_(R a) { return select(a > R{}, number(T(1)), select(a < R{}, number(T(-1)), R{})); }

// Functions of the C library, in double precision, lane by lane: those of lanes.h are faster and a little less exact than
// the array library's.
#define DS_LANEWISE(NAME, FORMULA)                   \
    DS_FN R NAME(R x)                                \
    {                                                \
        R r;                                         \
        for (int l = 0; l < DS_LANES; l++) {         \
            double a = get(x, l);                    \
            set(r, l, T(FORMULA));                   \
        }                                            \
        return r;                                    \
    }
DS_LANEWISE(round_, ::rint(a))
DS_LANEWISE(trunc_, ::trunc(a))
DS_LANEWISE(tan_, ::tan(a))
DS_LANEWISE(asin_, ::asin(a))
DS_LANEWISE(acos_, ::acos(a))
DS_LANEWISE(atan_, ::atan(a))
DS_LANEWISE(sinh_, ::sinh(a))
DS_LANEWISE(cosh_, ::cosh(a))
DS_LANEWISE(tanh_, ::tanh(a))
DS_LANEWISE(exponential, ::exp(a))
DS_LANEWISE(logarithm, ::log(a))
#undef DS_LANEWISE
DS_FN R pow_(R x, R y)
{
    R r;
    for (int l = 0; l < DS_LANES; l++) set(r, l, T(::pow(double(get(x, l)), double(get(y, l)))));
    return r;
}
// e^a - 1 = 2 t / (1 - t) with t = tanh(a / 2), which loses no digits near zero
DS_FN R expm1_(R x)
{
    R r;
    for (int l = 0; l < DS_LANES; l++) {
        double a = get(x, l), t = ::tanh(a / 2);
        set(r, l, T(a > -1 && a < 1 ? 2 * t / (1 - t) : ::exp(a) - 1));
    }
    return r;
}
// with u = 1 + a rounded, log(u) a / (u - 1) makes up for what rounding took (Kahan)
DS_FN R log1p_(R x)
{
    R r;
    for (int l = 0; l < DS_LANES; l++) {
        double a = get(x, l), u = 1 + a;
        set(r, l, T(u == 1 || u - 1 > 1e300 ? (u == 1 ? a : ::log(u)) : ::log(u) * (a / (u - 1))));
    }
    return r;
}
DS_FN R angle(R y, R x)
{
    R r;
    for (int l = 0; l < DS_LANES; l++) set(r, l, T(::atan2(double(get(y, l)), double(get(x, l)))));
    return r;
}
DS_FN void sin_cos(R x, R& s, R& c)
{
    for (int l = 0; l < DS_LANES; l++) {
        double a = get(x, l);
        set(s, l, T(::sin(a)));
        set(c, l, T(::cos(a)));
    }
}

typedef unsigned char Byte;

// Lanes whose world has a byte (or an integer) set; all of them where there is no array.
template <class X> DS_FN Mask worlds_with(const Block& b, const X* flags)
{
    Mask m;
    for (int l = 0; l < DS_LANES; l++) mark(m, l, flags == nullptr || flags[Block::world(l, b)] != 0);
    return m;
}

// Rows of n numbers, read and written by one copy of the code: with n known each of these would be unrolled n times the
// number of lanes, which takes longer to compile than to run.
DS_ENTRY void read_rows(Block b, const T* from, int n, R* to) { load(b, from, n, to); }
DS_ENTRY void write_rows(Block b, const R* from, int n, T* to) { store(b, from, n, to); }

// Cotangents of n numbers: those of the step's result, plus those of what replaced it where an episode ended, which
// reach worlds that went on (`on`) alone. Each may be null.
DS_ENTRY void load_cotangent(Block b, const T* of_result, const T* of_next, Mask on, int n, R* to)
{
    for (int i = 0; i < n; i++) to[i] = R{};
    if (of_result) load(b, of_result, n, to);
    if (!of_next) return;
    for (int i = 0; i < n; i++) {
        R more;
        for (int l = 0; l < DS_LANES; l++) set(more, l, of_next[Block::world(l, b) * n + i]);
        to[i] = to[i] + select(on, more, R{});
    }
}

// Numbers of worlds that left the finite range read zero where they are not finite.
DS_ENTRY void zero_lost(Mask fine, int n, R* x)
{
    for (int i = 0; i < n; i++) x[i] = select(fine | (abs_(x[i]) < number(T(DS_INFINITY))), x[i], R{});
}
// And so no cotangent reaches them.
DS_ENTRY void zero_lost_cotangent(Mask fine, int n, const R* x, R* g)
{
    for (int i = 0; i < n; i++) g[i] = select(fine | (abs_(x[i]) < number(T(DS_INFINITY))), g[i], R{});
}

// What ends in this step, and on a CPU, if `any` is given, whether anything does.
DS_ENTRY void ends(Block b, Mask terminated, const int* ok, const int* t, int horizon, int* t_out, int* flags, int n, int* any)
{
    Byte *of_terminated = (Byte*)flags, *of_truncated = of_terminated + n, *of_diverged = of_truncated + n, *of_done = of_diverged + n;
    for (int l = 0; l < DS_LANES && b.first + l < b.n; l++) {
        int w = b.first + l;
        bool fine = ok[w] != 0, over = holds(terminated, l) && fine;
        t_out[w] = t[w] + 1;
        bool cut = (t_out[w] >= horizon && !over) || !fine;
        of_terminated[w] = over;
        of_truncated[w] = cut;
        of_diverged[w] = !fine;
        of_done[w] = over || cut;
#ifndef __CUDACC__  // where nobody looks
        if (any && (over || cut)) __atomic_store_n(any, 1, __ATOMIC_RELAXED);
#endif
    }
}

// Rows of worlds that are done, from the new episode: as numbers of lanes, or from an array.
DS_ENTRY void renew(Block b, const Byte* done, const R* fresh, int n, T* to)
{
    for (int l = 0; l < DS_LANES && b.first + l < b.n; l++) {
        if (!done[b.first + l]) continue;
        for (int i = 0; i < n; i++) to[size_t(b.first + l) * n + i] = get(fresh[i], l);
    }
}
DS_ENTRY void renew_from(Block b, const Byte* done, const T* fresh, int n, T* to)
{
    for (int w = b.first; w < b.n && w < b.first + DS_LANES; w++) {
        if (!done[w]) continue;
        for (int i = 0; i < n; i++) to[size_t(w) * n + i] = fresh[size_t(w) * n + i];
    }
}
DS_ENTRY void copy_rows(Block b, const T* from, int n, T* to)
{
    size_t end = size_t(b.first + DS_LANES < b.n ? b.first + DS_LANES : b.n) * n;
    if (from == to) return;
    for (size_t i = size_t(b.first) * n; i < end; i++) to[i] = from[i];
}

DS_ENTRY void add_to(Block b, const T* more, int n, T* to)
{
    size_t end = size_t(b.first + DS_LANES < b.n ? b.first + DS_LANES : b.n) * n;
    for (size_t i = size_t(b.first) * n; i < end; i++) to[i] += more[i];
}

}  // namespace ds
