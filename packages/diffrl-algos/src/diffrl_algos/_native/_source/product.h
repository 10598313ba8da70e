// Matrix products of a block of rows. One factor lies in panels: of each row PANEL columns, one row after the other, then
// the next columns. A panel's row is a cache line. A tile, up to TILE rows of a panel, stays in registers while its sum
// runs, and every element is summed in the same order whatever tile it is in.
#pragma once
#include "lanes.h"

namespace ds {

constexpr int PANEL = 2 * DS_LANES, TILE = 6;
constexpr int PIECE = 48;  // terms that are summed by themselves: sums of sums are more accurate than one long sum

// `R{} + a` would be an addition for each broadcast: it cannot be left out, because of the sign of zero.
DS_FN R broadcast(T a)
{
#if DS_LANES == 8
    return R{a, a, a, a, a, a, a, a};
#else
    return R{a, a, a, a};
#endif
}

#if defined(__FMA__) || defined(__aarch64__)
DS_FN R fma_(R a, R b, R c) { return __builtin_elementwise_fma(a, b, c); }
#else
DS_FN R fma_(R a, R b, R c) { return a * b + c; }
#endif

template <int M> struct Rows {
    static constexpr int count = M;
};

// Call `tile(first, Rows<M>())` for tiles that make up `count` rows.
template <class F> DS_FN void tiles(int count, F tile)
{
    int first = 0;
    for (; first + TILE <= count; first += TILE) tile(first, Rows<TILE>());
    if (count - first >= 4) {
        tile(first, Rows<4>());
        first += 4;
    }
    if (count - first >= 2) {
        tile(first, Rows<2>());
        first += 2;
    }
    if (count > first) tile(first, Rows<1>());
}

// sum[m] += sum_k a(m, k) b(k), where b(k) is the PANEL numbers from b + k * step, and a(m, k) is a[m * stride + k], or
// a[k * stride + m] if TURNED.
template <bool TURNED, int M>
DS_FN void multiply(const T* a, int stride, const T* b, int step, int depth, R (&sum)[M][2])
{
#pragma clang loop unroll_count(4)
    for (int k = 0; k < depth; k++) {
        R left = read(b + k * step), right = read(b + k * step + DS_LANES);
#pragma clang loop unroll(full)
        for (int m = 0; m < M; m++) {
            R each = broadcast(TURNED ? a[k * stride + m] : a[m * stride + k]);
            sum[m][0] = fma_(each, left, sum[m][0]);
            sum[m][1] = fma_(each, right, sum[m][1]);
        }
    }
}

// c [rows, width] = a [rows, depth] b (+ bias [width]), with b in panels; width is a multiple of PANEL.
DS_ENTRY void times_panels(
    const T* a, int a_stride, int rows, int depth, const T* b, const T* bias, T* c, int c_stride, int width)
{
    for (int n = 0; n < width; n += PANEL) {
        R left = bias ? read(bias + n) : R{}, right = bias ? read(bias + n + DS_LANES) : R{};
        tiles(rows, [&](int first, auto of) {
            constexpr int M = decltype(of)::count;
            const T *rows = a + first * a_stride, *panel = b + size_t(n) * depth;
            for (int k = 0; k < depth || k == 0; k += PIECE) {
                R sum[M][2] = {};
                multiply<false>(rows + k, a_stride, panel + k * PANEL, PANEL, depth - k < PIECE ? depth - k : PIECE, sum);
                for (int m = 0; m < M; m++) {
                    T* to = c + (first + m) * c_stride + n;
                    write(to, sum[m][0] + (k ? read(to) : left));
                    write(to + DS_LANES, sum[m][1] + (k ? read(to + DS_LANES) : right));
                }
            }
        });
    }
}

// c [of, width], in panels, += a' g, for a [rows, of] and g [rows, width].
DS_ENTRY void add_outer(const T* a, int a_stride, const T* g, int g_stride, int rows, int of, T* c, int width)
{
    for (int n = 0; n < width; n += PANEL) {
        T* panel = c + size_t(n) * of;
        tiles(of, [&](int first, auto which) {
            constexpr int M = decltype(which)::count;
            R sum[M][2];
            for (int m = 0; m < M; m++) sum[m][0] = sum[m][1] = R{};
            multiply<true>(a + first, a_stride, g + n, g_stride, rows, sum);
            for (int m = 0; m < M; m++) {
                T* row = panel + (first + m) * PANEL;
                write(row, read(row) + sum[m][0]);
                write(row + DS_LANES, read(row + DS_LANES) + sum[m][1]);
            }
        });
    }
}

}  // namespace ds
