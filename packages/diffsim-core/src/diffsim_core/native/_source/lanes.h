// The number type of the engine. T is a scalar (float or double) and R the lane it computes in: on a CPU a
// SIMD vector of DS_LANES worlds, on a GPU (and for DS_LANES 1) the scalar itself. Everything above this
// file is written once, for R, with the operators + - * / and the functions below.
#pragma once

// DS_FN is part of whatever calls it, DS_ENTRY a function by itself, and DS_ITEM what a launch calls for each item: a CUDA
// kernel takes it in, so that its arguments stay in constant memory.
#ifdef __CUDACC__
#define DS_FN static __device__ __forceinline__
#define DS_ENTRY static __device__ __noinline__
#define DS_ITEM static __device__ __forceinline__
#else
#define DS_FN static inline __attribute__((always_inline))
#define DS_ENTRY static __attribute__((noinline))
#define DS_ITEM DS_ENTRY
#endif

namespace ds {

typedef DS_REAL T;

#if DS_LANES > 1
typedef T R __attribute__((vector_size(DS_LANES * sizeof(T))));
typedef decltype(R{} < R{}) Mask;

DS_FN R splat(T a) { return R{} + a; }
DS_FN R splat(R a) { return a; }
DS_FN R sqrt_(R a) { return __builtin_elementwise_sqrt(a); }
DS_FN R abs_(R a) { return __builtin_elementwise_abs(a); }
DS_FN R floor_(R a) { return __builtin_elementwise_floor(a); }
DS_FN R min_(R a, R b) { return __builtin_elementwise_min(a, b); }
DS_FN R max_(R a, R b) { return __builtin_elementwise_max(a, b); }
DS_FN R select(Mask m, R a, R b) { return m ? a : b; }
DS_FN bool any(Mask m) { return __builtin_reduce_or(m) != 0; }
DS_FN T get(R a, int lane) { return a[lane]; }
DS_FN void set(R& a, int lane, T x) { a[lane] = x; }
typedef T Unaligned __attribute__((vector_size(DS_LANES * sizeof(T)), aligned(sizeof(T))));
DS_FN R read(const T* p) { return *(const Unaligned*)p; }
DS_FN void write(T* p, R a) { *(Unaligned*)p = a; }
// past the cache: for numbers that are read again only in the backward pass, long after the cache has turned over
DS_FN bool can_stream(const T* p) { return (size_t)p % sizeof(R) == 0; }
DS_FN void stream(T* p, R a) { __builtin_nontemporal_store(a, (R*)p); }
DS_FN R atan2_(R y, R x)
{
    R r;
    for (int l = 0; l < DS_LANES; l++) r[l] = wp::atan2(y[l], x[l]);
    return r;
}

#if DS_DOUBLE
DS_FN void sincos_(R x, R& s, R& c)
{
    for (int l = 0; l < DS_LANES; l++) {
        s[l] = wp::sin(x[l]);
        c[l] = wp::cos(x[l]);
    }
}
DS_FN R exp_(R x)
{
    R r;
    for (int l = 0; l < DS_LANES; l++) r[l] = wp::exp(x[l]);
    return r;
}
DS_FN R log_(R x)
{
    R r;
    for (int l = 0; l < DS_LANES; l++) r[l] = wp::log(x[l]);
    return r;
}
#else
typedef int I __attribute__((vector_size(DS_LANES * sizeof(int))));
// Cody-Waite reduction to [-pi/4, pi/4] and minimax polynomials; error below 2 ulp for |x| < 1e4.
DS_FN void sincos_(R x, R& s, R& c)
{
    R k = __builtin_elementwise_roundeven(x * 0.636619772f);
    R r = x - k * 1.5703125f;
    r = r - k * 4.83751296997e-4f;
    r = r - k * 7.54978995489e-8f;
    R r2 = r * r;
    R sp = r + r * r2 * (-1.6666654611e-1f + r2 * (8.3321608736e-3f + r2 * -1.9515295891e-4f));
    R cp = 1.0f - 0.5f * r2 + r2 * r2 * (4.166664568298827e-2f + r2 * (-1.388731625493765e-3f + r2 * 2.443315711809948e-5f));
    // a world that has run off to infinity must not make the conversion undefined: it is caught at the end of the step
    I quadrant = __builtin_convertvector(select(abs_(k) < splat(1e9f), k, R{}), I);
    Mask odd = (quadrant & 1) != 0;
    R ss = odd ? cp : sp, cc = odd ? sp : cp;
    s = (quadrant & 2) != 0 ? -ss : ss;
    c = ((quadrant + 1) & 2) != 0 ? -cc : cc;
}
// e^x = 2^k e^r with |r| <= log(2) / 2, and the series of e^r; below 2 ulp. Zero below the normal numbers, infinite above.
DS_FN R exp_(R x)
{
    R within = min_(max_(x, splat(-87.0f)), splat(88.0f));
    R k = __builtin_elementwise_roundeven(within * 1.44269504f);
    R r = (within - k * 0.693359375f) - k * -2.12194440e-4f;
    R p = 1.0f + r * (1.0f + r * (0.5f + r * (1.66666667e-1f + r * (4.16666667e-2f + r * (8.33333333e-3f + r * (1.38888889e-3f
              + r * 1.98412698e-4f))))));
    I exponent = (__builtin_convertvector(select(within == within, k, R{}), I) + 127) << 23;
    R value = p * (R)exponent;
    return select(x < -87.0f, R{}, select(x > 88.0f, splat(__builtin_inff()), select(x == x, value, x)));
}
// log x = k log(2) + 2 artanh r, where x = 2^k m, sqrt(1/2) <= m < sqrt(2), r = (m - 1) / (m + 1); below 2 ulp. Numbers
// below the normal ones count as the smallest of these; not a number for what is negative, minus infinity for zero.
DS_FN R log_(R x)
{
    I bits = (I)max_(x, splat(1.17549435e-38f));
    I k = (bits - 0x3f3504f3) >> 23;
    R m = (R)(bits - (k << 23)), scale = __builtin_convertvector(k, R);
    R r = (m - 1.0f) / (m + 1.0f), r2 = r * r;
    R p = r * r2 * (6.66666667e-1f + r2 * (4.0e-1f + r2 * (2.85714286e-1f + r2 * 2.22222222e-1f)));
    R value = scale * 0.693359375f + (2.0f * r + (p + scale * -2.12194440e-4f));
    value = select(x > 3.4e38f, x, value);
    return select(x > R{}, value, select(x == R{}, splat(-__builtin_inff()), splat(__builtin_nanf(""))));
}
#endif

#else
typedef T R;
typedef bool Mask;

DS_FN R splat(T a) { return a; }
DS_FN R sqrt_(R a) { return wp::sqrt(a); }
DS_FN R abs_(R a) { return wp::abs(a); }
DS_FN R floor_(R a) { return wp::floor(a); }
DS_FN R min_(R a, R b) { return a < b ? a : b; }
DS_FN R max_(R a, R b) { return a > b ? a : b; }
DS_FN R select(Mask m, R a, R b) { return m ? a : b; }
DS_FN bool any(Mask m) { return m; }
DS_FN T get(R a, int) { return a; }
DS_FN void set(R& a, int, T x) { a = x; }
DS_FN R read(const T* p) { return *p; }
DS_FN void write(T* p, R a) { *p = a; }
DS_FN bool can_stream(const T*) { return false; }
DS_FN void stream(T* p, R a) { *p = a; }
DS_FN R atan2_(R y, R x) { return wp::atan2(y, x); }
DS_FN R exp_(R x) { return wp::exp(x); }
DS_FN R log_(R x) { return wp::log(x); }
DS_FN void sincos_(R x, R& s, R& c)
{
    s = wp::sin(x);
    c = wp::cos(x);
}
#endif

#if DS_PARAMS
typedef R P;  // what the model's reals are read as: worlds may differ in them (see parameters.h)
#else
typedef T P;
#endif

}  // namespace ds
