// A network of several outputs: a block of rows forward, and back from the cotangents of the outputs.
#pragma once
#include "mlp.h"

namespace ds {

// Up to DS_LANES numbers, of rows that end where others begin. What is at a null pointer counts as zero.
DS_FN R read_some(const T* from, int count)
{
    if (!from) return R{};
    if (count >= DS_LANES) return read(from);
    R a = {};
    for (int l = 0; l < count; l++) set(a, l, from[l]);
    return a;
}
DS_FN void write_some(T* to, R a, int count)
{
    if (count >= DS_LANES) return write(to, a);
    for (int l = 0; l < count; l++) to[l] = get(a, l);
}
DS_FN R clamp_(R a, T low, T high)
{
    a = select(a < low, broadcast(low), a);
    return select(a > high, broadcast(high), a);
}

// The outputs of the network for a block of rows, those of the numbers in `order` or else one after the other, to `sums`;
// the layers keep what the way back needs.
DS_FN void outputs_of(const Network& net, const T* x, const int* order, int rows)
{
    load_rows(net, x, order, rows);
    hidden_rows(net, rows);
    sum_rows(net, net.depth, rows);
}

// The same, where the layers have kept it already: to the same bits.
DS_FN void outputs_again(const Network& net, const T* x, int rows)
{
    load_rows(net, x, nullptr, rows);
    for (int k = 0; k < net.depth && net.layer_norm; k++) normal_rows(net, net.layers[k], rows);
    sum_rows(net, net.depth, rows);
}

// Add the gradient of all parameters, if it is asked for, from the cotangents of the outputs in `sums`.
DS_FN void pull_back_outputs(const Network& net, int rows)
{
    const Layer& last = net.layers[net.depth];
    for (int r = 0; r < rows; r++)
        for (int i = last.outputs; i < last.width; i++) net.sums[r * last.stride + i] = T(0);
    if (net.grad) {
        add_columns(last.outputs, net.grad + last.bias, rows, [&](int r, int i) {
            return read(net.sums + r * last.stride + i);
        });
    }
    add_weight(net, net.depth, rows);
    if (!net.depth) return;
    pull_input(net, net.depth, rows, net.layers[net.depth - 1].stride);
    pull_back_hidden(net, rows);
}

}  // namespace ds
