// A step of a Gaussian policy: distribution, draw and squashed action of a batch of rows; and its vector-Jacobian product.
// If a call has room for `activations`, the step keeps there what the way back reads; else the network goes forward again.
#pragma once
#include "outputs.h"
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

DS_FN const T* row_of(const T* from, size_t row, int width) { return from ? from + row * width : nullptr; }

// What a policy draws in a row, from the outputs of its network there.
struct Draw {
    R raw, logstd, noise, u, action;  // raw: log sigma before it is clamped; noise: sigma eps
};
DS_FN Draw draw(const PolicyArgs& args, const T* outputs, const T* eps, const T* push, int i)
{
    const int count = args.actions - i;
    Draw d = {};
    d.noise = read_some(eps + i, count);
    if (args.spread) {
        d.raw = read_some(outputs + args.actions + i, count);
        d.logstd = clamp_(d.raw, args.range[0], args.range[1]);
        d.noise = d.noise * exp_(d.logstd);
    }
    d.u = read_some(outputs + i, count) + d.noise + read_some(push ? push + i : nullptr, count);
    d.action = tanh_(d.u);
    return d;
}

// For the block of rows that begins at row `first`.
DS_FN Network network(const PolicyArgs& args, int first)
{
    T* kept = args.activations ? args.activations + size_t(first / BLOCK) * args.kept_size : args.scratch + args.kept;
    return {(const Layer*)args.layers, args.depth, args.activation, args.layer_norm, args.inputs, args.stride,
            args.parameters, args.turned, args.scratch, kept, args.by_parameters, args.scratch + args.pull,
            args.scratch + args.sums};
}

DS_ITEM void policy_forward(int, const PolicyArgs& args)
{
    const int na = args.actions;
    for (int first = 0; first < args.rows; first += BLOCK) {
        const Network net = network(args, first);
        const Layer& last = net.layers[net.depth];
        const int rows = first + BLOCK < args.rows ? BLOCK : args.rows - first;
        outputs_of(net, args.x + size_t(first) * net.inputs, nullptr, rows);
        for (int r = 0; r < rows; r++) {
            const T* outputs = net.sums + r * last.stride;
            const size_t row = first + r;
            for (int i = 0; i < na; i += DS_LANES) {
                const Draw d = draw(args, outputs, args.eps + row * na, row_of(args.push, row, na), i);
                write_some(args.mean + row * na + i, read_some(outputs + i, na - i), na - i);
                if (args.spread) write_some(args.logstd + row * na + i, d.logstd, na - i);
                write_some(args.u + row * na + i, d.u, na - i);
                write_some(args.action + row * na + i, d.action, na - i);
            }
        }
    }
}

// Whether the cotangents of a row's actions are all below the largest that may pass; see _gate.py.
DS_FN bool passes(const T* g, int count, T largest)
{
    for (int i = 0; i < count; i++)
        if (!(g[i] < largest && g[i] > -largest)) return false;
    return true;
}

// From the cotangents mean, logstd, u and action, each of which may be null: those of parameters, x, eps (the noise), and
// which rows were blocked. By_parameters and by_x may be null.
DS_ITEM void policy_back(int, const PolicyArgs& args)
{
    const int na = args.actions;
    if (args.by_parameters) clear(args.by_parameters, args.size);
    for (int first = 0; first < args.rows; first += BLOCK) {
        const Network net = network(args, first);
        const Layer& last = net.layers[net.depth];
        const int rows = first + BLOCK < args.rows ? BLOCK : args.rows - first;
        const T* x = args.x + size_t(first) * net.inputs;
        if (args.activations) outputs_again(net, x, rows);
        else outputs_of(net, x, nullptr, rows);
        for (int r = 0; r < rows; r++) {
            T* outputs = net.sums + r * last.stride;  // which become their cotangents
            const size_t row = first + r;
            const T* g_action = row_of(args.action, row, na);
            const bool open = !g_action || passes(g_action, na, args.range[2]);
            if (args.lost) args.lost[row] = T(!open);
            for (int i = 0; i < na; i += DS_LANES) {
                const int count = na - i;
                auto cotangent = [&](const T* of) { return read_some(of ? of + row * na + i : nullptr, count); };
                const Draw d = draw(args, outputs, args.eps + row * na, row_of(args.push, row, na), i);
                const R by_action = open ? cotangent(args.action) : R{};
                const R g = cotangent(args.u) + by_action * (T(1) - d.action * d.action);
                if (args.by_u) write_some(args.by_u + row * na + i, g, count);
                write_some(outputs + i, g + cotangent(args.mean), count);
                if (!args.spread) continue;
                const Mask within = (d.raw >= args.range[0]) & (d.raw <= args.range[1]);
                write_some(outputs + na + i, select(within, cotangent(args.logstd) + g * d.noise, R{}), count);
            }
        }
        pull_back_outputs(net, rows);
        if (!args.by_x) continue;
        pull_input(net, 0, rows, net.stride);
        for (int r = 0; r < rows; r++) {
            T* row = args.by_x + size_t(first + r) * net.inputs;
            for (int i = 0; i < net.inputs; i++) row[i] = net.pull[r * net.stride + i];
        }
    }
}

}  // namespace ds
