// Epochs of a Gaussian policy down a loss by Adam(W) with clipping: the squared error of its actions to targets, the
// clipped surrogate, or RPO's. Reading _native_policy_fit.py first helps.
#pragma once
#include "adam.h"
#include "outputs.h"
#include "parameters.h"

namespace ds {

// Numbers of a loss and of its policy, in the order of _native_policy_fit.py.
struct Limits {
    T logstd_min, logstd_max;
    T ratio_min, ratio_max;          // the clip range of the surrogate, or the range of RPO
    T log_ratio_min, log_ratio_max;  // the same of logarithms
    T largest;                       // logarithms of ratios beyond count as this, and have no gradient
    T entropy;                       // weight of the entropy
    T divergence;                    // weight of the divergence from the policy that acted
};

// A block of rows of a minibatch.
struct Block {
    const int* order;    // numbers of the rows
    const T* reference;  // log-densities that the surrogate's ratios are relative to, one after the other
    int rows;
    T share;             // of a row in the mean over the minibatch
    const T* logstd;     // where it is a parameter
};

// Sums over rows.
struct Sums {
    double loss;
    int outside;  // rows whose ratio has left the clip range
};

// Log sigma of up to DS_LANES actions of a row.
struct Deviation {
    R logstd;
    Mask free;  // not clamped
};
DS_FN Deviation deviation(const PolicyFitArgs& args, const Block& block, const T* outputs, int i)
{
    const Limits& limits = *(const Limits*)args.limits;
    const R raw = read_some(args.spread ? outputs + args.actions + i : block.logstd + i, args.actions - i);
    const Mask free = (raw >= limits.logstd_min) & (raw <= limits.logstd_max);
    return {clamp_(raw, limits.logstd_min, limits.logstd_max), free};
}

// Where the cotangents of a row's log sigma go: among those of the outputs, or to a place that is still free.
DS_FN T* by_logstd(const PolicyFitArgs& args, const Network& net, int row)
{
    const int stride = net.layers[net.depth].stride;
    return args.spread ? net.sums + row * stride + args.actions : net.pull + row * stride;
}

// Sum of |mean + sigma eps - target|^2; outputs become their cotangents.
DS_FN Sums squared_error(const PolicyFitArgs& args, const Network& net, const Block& block)
{
    const int na = args.actions, stride = net.layers[net.depth].stride;
    double squares = 0;
    for (int r = 0; r < block.rows; r++) {
        T *outputs = net.sums + r * stride, *spread = by_logstd(args, net, r);
        const T *eps = args.eps + size_t(block.order[r]) * na, *target = args.target + size_t(block.order[r]) * na;
        R all = {};
        for (int i = 0; i < na; i += DS_LANES) {
            const int count = na - i;
            const Deviation d = deviation(args, block, outputs, i);
            const R noise = read_some(eps + i, count) * exp_(d.logstd);
            const R error = read_some(outputs + i, count) + noise - read_some(target + i, count);
            const R by_mean = error * (T(2) * block.share);
            all = fma_(error, error, all);
            write_some(outputs + i, by_mean, count);
            write_some(spread + i, select(d.free, by_mean * noise, R{}), count);
        }
        squares += double(total(all));
    }
    return {squares, 0};
}

// Logarithms of the ratios of densities, one for each row.
DS_FN void compare_densities(const PolicyFitArgs& args, const Network& net, const Block& block, T* log_ratios)
{
    const int na = args.actions, stride = net.layers[net.depth].stride;
    for (int r = 0; r < block.rows; r++) {
        const T *outputs = net.sums + r * stride, *u = args.u + size_t(block.order[r]) * na;
        R all = {};
        for (int i = 0; i < na; i += DS_LANES) {
            const int count = na - i;
            const Deviation d = deviation(args, block, outputs, i);
            const R z = (read_some(u + i, count) - read_some(outputs + i, count)) * exp_(-d.logstd);
            all = all + select(first_lanes(count), T(0.5) * z * z + d.logstd + T(0.91893853320467274178), R{});
        }
        log_ratios[r] = -total(all) - block.reference[r];
    }
}

// Minus the sum of min(w A, clip(w) A); outputs become their cotangents, with those of the entropy.
DS_FN Sums surrogate(const PolicyFitArgs& args, const Network& net, const Block& block)
{
    const Limits& limits = *(const Limits*)args.limits;
    const int na = args.actions, stride = net.layers[net.depth].stride;
    T log_ratios[BLOCK + DS_LANES] = {}, advantages[BLOCK + DS_LANES] = {}, weights[BLOCK + DS_LANES];
    compare_densities(args, net, block, log_ratios);
    for (int r = 0; r < block.rows; r++) advantages[r] = args.advantage[block.order[r]];
    Sums sums = {};
    for (int r = 0; r < block.rows; r += DS_LANES) {
        const R log_ratio = read(log_ratios + r), advantage = read(advantages + r);
        const Mask beyond = log_ratio > limits.largest;
        const R ratio = exp_(select(beyond, broadcast(limits.largest), log_ratio));
        const R gain = ratio * advantage, bound = clamp_(ratio, limits.ratio_min, limits.ratio_max) * advantage;
        const Mask clipped = bound < gain;
        const R least = select(clipped, bound, gain);
        write(weights + r, select(clipped | beyond, R{}, gain * -block.share));
        for (int l = 0; l < DS_LANES && r + l < block.rows; l++) {
            sums.loss -= double(get(least, l));
            sums.outside += log_ratios[r + l] > limits.log_ratio_max || log_ratios[r + l] < limits.log_ratio_min;
        }
    }
    for (int r = 0; r < block.rows; r++) {
        T *outputs = net.sums + r * stride, *spread = by_logstd(args, net, r);
        const T* u = args.u + size_t(block.order[r]) * na;
        for (int i = 0; i < na; i += DS_LANES) {
            const int count = na - i;
            const Deviation d = deviation(args, block, outputs, i);
            const R inverse = exp_(-d.logstd);
            const R z = (read_some(u + i, count) - read_some(outputs + i, count)) * inverse;
            const R by_spread = weights[r] * (z * z - T(1)) - limits.entropy * block.share;
            write_some(outputs + i, weights[r] * z * inverse, count);
            write_some(spread + i, select(d.free, by_spread, R{}), count);
        }
    }
    return sums;
}

// Minus the sum of w g a, with w a ratio in range or zero, plus divergence and minus entropy; outputs become their
// cotangents. What belongs to a weight of zero does not count, even if it is not finite.
DS_FN Sums reused(const PolicyFitArgs& args, const Network& net, const Block& block)
{
    const Limits& limits = *(const Limits*)args.limits;
    const int na = args.actions, stride = net.layers[net.depth].stride;
    T log_ratios[BLOCK + DS_LANES] = {}, weights[BLOCK + DS_LANES];
    compare_densities(args, net, block, log_ratios);
    Sums sums = {};
    for (int r = 0; r < block.rows; r += DS_LANES) {
        const R log_ratio = read(log_ratios + r);
        const R ratio = exp_(select(log_ratio > limits.largest, broadcast(limits.largest), log_ratio));
        const Mask outside = (ratio < limits.ratio_min) | (ratio > limits.ratio_max);
        write(weights + r, select(outside, R{}, ratio));
    }
    for (int r = 0; r < block.rows; r++) {
        T *outputs = net.sums + r * stride, *spread = by_logstd(args, net, r);
        const size_t row = size_t(block.order[r]) * na;
        const R weight = broadcast(weights[r] * block.share);
        const bool counts = weights[r] != T(0);
        R all = {};
        sums.outside += !counts;
        for (int i = 0; i < na; i += DS_LANES) {
            const int count = na - i;
            const Deviation d = deviation(args, block, outputs, i);
            const R mean = read_some(outputs + i, count), inverse = exp_(-d.logstd), u = read_some(args.u + row + i, count);
            const R old = read_some(args.logstd_old + row + i, count) - d.logstd;
            const R shift = (read_some(args.mean_old + row + i, count) - mean) * inverse;
            const R ratio = exp_(T(2) * old);
            R by_mean = shift * inverse * -limits.divergence, by_spread = limits.divergence * (T(1) - ratio - shift * shift);
            R value = limits.divergence * (T(0.5) * (ratio + shift * shift - T(1)) - old);
            by_mean = by_mean * block.share;
            by_spread = (by_spread - limits.entropy) * block.share;
            value = value - limits.entropy * (d.logstd + T(1.41893853320467274178));
            if (limits.divergence == T(0)) {  // what overflows is not to be multiplied by zero
                by_mean = R{};
                by_spread = broadcast(-limits.entropy * block.share);
                value = -limits.entropy * (d.logstd + T(1.41893853320467274178));
            }
            if (counts) {
                const R gradient = read_some(args.gradient + row + i, count);
                by_mean = by_mean - weight * gradient;
                by_spread = by_spread - weight * gradient * (u - mean);
                value = value - weights[r] * gradient * u;
            }
            all = all + select(first_lanes(count), value, R{});
            write_some(outputs + i, by_mean, count);
            write_some(spread + i, select(d.free, by_spread, R{}), count);
        }
        sums.loss += double(total(all));
    }
    return sums;
}

// Torch's parameters or moments to ours or, with BACK, ours to torch's. Log sigma, where it is a parameter, is the last.
template <bool BACK> DS_FN void arrange(const PolicyFitArgs& args, T* theirs, T* ours)
{
    reorder<BACK>((const Layer*)args.layers, args.depth, args.layer_norm, theirs, ours);
    for (int i = 0; i < (args.spread ? 0 : args.actions); i++) {
        T &their = theirs[args.flat_size + i], &our = ours[args.size + i];
        if (BACK) their = our;
        else our = their;
    }
}

// What a step leaves for the caller.
struct Figures {
    T loss, norm, outside;  // the mean loss before the step, the gradient's norm, and the share outside the clip range
};

DS_ITEM void policy_fit(int, const PolicyFitArgs& args)
{
    const Layer* layers = (const Layer*)args.layers;
    const int extra = args.spread ? 0 : (args.actions + PANEL - 1) / PANEL * PANEL;
    const size_t all = size_t(args.size) + extra;
    T *parameters = args.work, *m = parameters + all, *v = m + all, *grad = v + all, *turned = grad + all;
    T* scratch = turned + args.turned_size;
    clear(parameters, 3 * all);
    arrange<false>(args, args.parameters, parameters);
    arrange<false>(args, args.m, m);
    arrange<false>(args, args.v, v);
    const Network net = {layers, args.depth, args.activation, args.layer_norm, args.inputs, args.stride, parameters, turned,
                         scratch, scratch + args.kept, grad, scratch + args.pull, scratch + args.sums};
    const int stride = layers[args.depth].stride;
    const Step* step = steps_of(args.constants);
    Figures* figures = (Figures*)args.figures;
    for (int epoch = 0; epoch < args.epochs; epoch++) {
        const size_t start = size_t(epoch) * args.rows;
        for (int begin = 0; begin < args.rows; begin += args.batch) {
            const int end = begin + args.batch < args.rows ? begin + args.batch : args.rows;
            clear(grad, all);
            turn(layers, 1, args.depth + 1, parameters, turned);
            Sums sums = {};
            for (int first = begin; first < end; first += BLOCK) {
                const int rows = first + BLOCK < end ? BLOCK : end - first;
                const T* reference = args.u ? args.reference + start + first : nullptr;
                const Block block = {args.order + start + first, reference, rows, T(1) / T(end - begin), parameters + args.size};
                outputs_of(net, args.x, block.order, rows);
                const Sums some = args.gradient ? reused(args, net, block)
                                  : args.u     ? surrogate(args, net, block)
                                               : squared_error(args, net, block);
                sums.loss += some.loss;
                sums.outside += some.outside;
                if (!args.spread) {
                    add_columns(args.actions, grad + args.size, rows, [&](int r, int i) { return read(net.pull + r * stride + i); });
                }
                pull_back_outputs(net, rows);
            }
            const T norm = descend(int(all), args.constants, *step++, parameters, m, v, grad);
            const double count = end - begin;
            *figures++ = {T(sums.loss / count), norm, T(sums.outside / count)};
        }
    }
    arrange<true>(args, args.parameters, parameters);
    arrange<true>(args, args.m, m);
    arrange<true>(args, args.v, v);
}

}  // namespace ds
