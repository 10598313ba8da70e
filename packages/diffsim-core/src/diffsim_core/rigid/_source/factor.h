// The sparse factorisation M = L^T D L, without fill-in (Featherstone, ch. 6). Row d of M holds the entries with d's ancestors
// and itself, by depth, so inner loops run over contiguous rows. Ancestors are those of the elimination tree
// (rigid/_elimination.py): the tree of links, unless DS_CLIQUES leaves room for more.
//
// Rows of a chain, each the parent of the one after it, are worked on together: the row of the first is the beginning of
// the others, so what a row or x holds is read once for all of them, and sums do not wait for each other. Each number is
// reached by the same operations in the same order as row by row, so chains change no bits.
#pragma once
#include "model.h"

namespace ds {

enum { CHAIN = 3 };  // rows that are worked on together, at most

// run a statement in which N is the length, known to the compiler, of the chain of `length` rows
#define DS_CHAIN_CASE(length, ...) { enum { N = length }; __VA_ARGS__; }
#define DS_WITH_CHAIN(length, ...)                        \
    if ((length) == 3) DS_CHAIN_CASE(3, __VA_ARGS__)      \
    else if ((length) == 2) DS_CHAIN_CASE(2, __VA_ARGS__) \
    else DS_CHAIN_CASE(1, __VA_ARGS__)

// whether row k - 1 is the parent of row k
DS_FN bool follows(const Model& m, int k) { return m.depth[k] > 0 && m.ancestor[m.row[k] + m.depth[k] - 1] == k - 1; }
// rows of the chain that ends, and of the one that begins, with row k
DS_FN int chain_to(const Model& m, int k)
{
    int n = 1;
    while (n < CHAIN && follows(m, k - n + 1)) n++;
    return n;
}
DS_FN int chain_from(const Model& m, int k)
{
    int n = 1;
    while (n < CHAIN && k + n < m.nv && follows(m, k + n)) n++;
    return n;
}

// what eliminating N rows of a chain takes from the rows of A of their ancestors, those of the entries last, last - 1, ...
template <int A, int N>
DS_FN void update_rows(const Model& m, Factor& M, const int* ancestor, R* const* row, const R* inverse, int last)
{
    R *to[A], a[A][N];
    int shared = last - A + 1;  // entries that all A rows have
    for (int u = 0; u < A; u++) {
        to[u] = M.m + m.row[ancestor[last - u]];
        for (int c = 0; c < N; c++) a[u][c] = row[c][last - u] * inverse[c];
    }
    auto update = [&](int u, int j) {
        R x = to[u][j];
        for (int c = 0; c < N; c++) x = x - a[u][c] * row[c][j];
        to[u][j] = x;
    };
    for (int j = 0; j < shared; j++)
        for (int u = 0; u < A; u++) update(u, j);
    for (int u = 0; u < A; u++)
        for (int j = shared; j < shared + A - u; j++) update(u, j);
    for (int u = 0; u < A; u++)
        for (int c = 0; c < N; c++) row[c][last - u] = a[u][c];
}

// rows last, last - 1, ... of a chain
template <int N>
DS_FN void eliminate(const Model& m, Factor& M, int last)
{
    int before = m.depth[last] - (N - 1);  // entries before the chain
    R *row[N], inverse[N], a[N][N];
    for (int c = 0; c < N; c++) row[c] = M.m + m.row[last - c];
    for (int c = 0; c < N; c++) {  // the chain's own columns
        int depth = before + N - 1 - c;
        inverse[c] = splat(T(1)) / row[c][depth];
        row[c][depth] = inverse[c];
        for (int up = c + 1; up < N; up++) {
            int e = before + N - 1 - up;
            a[c][up] = row[c][e] * inverse[c];
            for (int j = before; j <= e; j++) row[up][j] = row[up][j] - a[c][up] * row[c][j];
            row[c][e] = a[c][up];
        }
    }
    for (int j = 0; j < before && N > 1; j++) {  // those before it
        R x[N];
        x[0] = row[0][j];
        for (int up = 1; up < N; up++) {
            x[up] = row[up][j];
            for (int c = 0; c < up; c++) x[up] = x[up] - a[c][up] * x[c];
            row[up][j] = x[up];
        }
    }
    const int* ancestor = m.ancestor + m.row[last];
    int e = before - 1;
    for (; e >= 2; e -= 3) update_rows<3, N>(m, M, ancestor, row, inverse, e);
    if (e == 1) update_rows<2, N>(m, M, ancestor, row, inverse, e);
    if (e == 0) update_rows<1, N>(m, M, ancestor, row, inverse, e);
}

DS_FN void factorise(const Model& m, Factor& M)
{
    for (int k = m.nv - 1; k >= 0;) {
        int n = chain_to(m, k);
        DS_WITH_CHAIN(n, eliminate<N>(m, M, k))
        k -= n;
    }
}

// x of the rows last, last - 1, ... of a chain is left as it is divided by D and goes up to their ancestors
template <int N>
DS_FN void pass_up(const Model& m, const Factor& M, int last, R* x)
{
    int before = m.depth[last] - (N - 1);
    const R* row[N];
    R own[N];
    for (int c = 0; c < N; c++) row[c] = M.m + m.row[last - c], own[c] = x[last - c];
    for (int c = 0; c < N; c++)
        for (int up = c + 1; up < N; up++) own[up] = own[up] - row[c][before + N - 1 - up] * own[c];
    const int* ancestor = m.ancestor + m.row[last];
    for (int e = 0; e < before; e++) {
        R xi = x[ancestor[e]];
        for (int c = 0; c < N; c++) xi = xi - row[c][e] * own[c];
        x[ancestor[e]] = xi;
    }
    for (int c = 0; c < N; c++) x[last - c] = own[c];
}

// x of the rows first, first + 1, ... of a chain, from that of their ancestors
template <int N>
DS_FN void pass_down(const Model& m, const Factor& M, int first, R* x)
{
    int before = m.depth[first];
    const R* row[N];
    R own[N];
    for (int c = 0; c < N; c++) row[c] = M.m + m.row[first + c], own[c] = x[first + c] * row[c][before + c];
    const int* ancestor = m.ancestor + m.row[first];
    for (int e = 0; e < before; e++) {
        R xi = x[ancestor[e]];
        for (int c = 0; c < N; c++) own[c] = own[c] - row[c][e] * xi;
    }
    for (int c = 0; c < N; c++) {
        for (int up = 0; up < c; up++) own[c] = own[c] - row[c][before + up] * own[up];
        x[first + c] = own[c];
    }
}

// x = M^-1 x
DS_FN void solve(const Model& m, const Factor& M, R* x)
{
    for (int k = m.nv - 1; k >= 0;) {
        int n = chain_to(m, k);
        DS_WITH_CHAIN(n, pass_up<N>(m, M, k, x))
        k -= n;
    }
    for (int k = 0; k < m.nv;) {
        int n = chain_from(m, k);
        DS_WITH_CHAIN(n, pass_down<N>(m, M, k, x))
        k += n;
    }
}

}  // namespace ds
