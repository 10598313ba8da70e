// A network's output of a batch of rows, and its vector-Jacobian product, which goes forward once more.
#pragma once
#include "parameters.h"

namespace ds {

// Torch's parameters to ours, and the transposed weights of all layers.
DS_ITEM void arrange(int, const ArrangeArgs& args)
{
    const Layer* layers = (const Layer*)args.layers;
    clear(args.ours, args.size);
    reorder<false>(layers, args.depth, args.layer_norm, args.theirs, args.ours);
    turn(layers, 0, args.depth + 1, args.ours, args.turned);
}
DS_ITEM void arrange_back(int, const ArrangeArgs& args)
{
    reorder<true>((const Layer*)args.layers, args.depth, args.layer_norm, args.theirs, args.ours);
}

DS_FN Network network(const PassArgs& args)
{
    return {(const Layer*)args.layers, args.depth, args.activation, args.layer_norm, args.inputs, args.stride,
            args.parameters, args.turned, args.scratch, args.grad, args.scratch + args.pull, args.scratch + args.sums};
}

DS_ITEM void network_forward(int, const PassArgs& args)
{
    const Network net = network(args);
    const Layer& last = net.layers[net.depth];
    for (int first = 0; first < args.rows; first += BLOCK) {
        const int count = first + BLOCK < args.rows ? BLOCK : args.rows - first;
        load_rows(net, args.x + size_t(first) * net.inputs, nullptr, count);
        hidden_rows(net, count);
        sum_rows(net, net.depth, count);
        for (int r = 0; r < count; r++) {
            T* row = args.out + size_t(first + r) * last.outputs;
            for (int i = 0; i < last.outputs; i++) row[i] = net.sums[r * last.stride + i];
        }
    }
}

// From the cotangents `out` of the outputs: the gradient `grad`, and the cotangents of the inputs unless `by_x` is null.
DS_ITEM void network_back(int, const PassArgs& args)
{
    const Network net = network(args);
    const Layer& last = net.layers[net.depth];
    clear(net.grad, args.size);
    for (int first = 0; first < args.rows; first += BLOCK) {
        const int count = first + BLOCK < args.rows ? BLOCK : args.rows - first;
        load_rows(net, args.x + size_t(first) * net.inputs, nullptr, count);
        hidden_rows(net, count);
        for (int r = 0; r < count; r++) {
            const T* g = args.out + size_t(first + r) * last.outputs;
            T* row = net.sums + r * last.stride;
            for (int i = 0; i < last.width; i++) row[i] = i < last.outputs ? g[i] : T(0);
        }
        add_columns(last.outputs, net.grad + last.bias, count, [&](int r, int i) { return read(net.sums + r * last.stride + i); });
        add_weight(net, net.depth, count);
        if (net.depth) {
            pull_input(net, net.depth, count, net.layers[net.depth - 1].stride);
            pull_back_hidden(net, count);
        }
        if (!args.by_x) continue;
        pull_input(net, 0, count, net.stride);
        for (int r = 0; r < count; r++) {
            T* row = args.by_x + size_t(first + r) * net.inputs;
            for (int i = 0; i < net.inputs; i++) row[i] = net.pull[r * net.stride + i];
        }
    }
}

}  // namespace ds
