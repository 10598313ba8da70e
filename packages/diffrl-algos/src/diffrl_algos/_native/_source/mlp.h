// The hidden layers of a multilayer perceptron: a block of rows forward, and back to the gradient of their parameters.
#pragma once
#include "activation.h"

namespace ds {

// A layer, as layout.py lays it out; the output layer is the last. `width` is `outputs` rounded up to whole panels. The
// columns between them are zero in parameters, activations and cotangents. They are selected, not multiplied: zero times
// infinity is no number.
struct Layer {
    int inputs, outputs, width;
    int panel;                        // columns of a panel of the weight
    int weight, bias, scale, shift;   // where they begin among the parameters; the weight is [inputs, width], in panels
    int turned;                       // its transpose [outputs, width of the inputs], in panels, among the turned weights
    int stride;                       // from row to row of the following
    int extra, active;                // kept: activations before normalisation; extra is what `slope` also needs
    int normal;                       // in the scratch: activations after normalisation
    int mean, inverse;                // kept, of each row: its mean and the inverse of its deviation
};
static_assert(sizeof(Layer) == 15 * sizeof(int), "not as Python lays it out");

// A network, and what its rows are computed with. Input rows lie at the start of the scratch.
struct Network {
    const Layer* layers;
    int depth, activation, layer_norm;  // hidden layers
    int inputs, stride;                 // width of an input row, and the numbers to the next
    const T *parameters, *turned;
    T *scratch, *kept;                  // kept: what the way back has to know of the hidden layers
    T *grad;                            // of the parameters; null if nobody asks for it
    T *pull, *sums;                     // the cotangents of a layer's output; its sums, and then their cotangents
};

// Where the input rows of a layer are, and the numbers from one to the next.
struct Input {
    const T* rows;
    int stride;
};
DS_FN Input input_of(const Network& net, int layer)
{
    if (layer == 0) return {net.scratch, net.stride};
    const Layer& before = net.layers[layer - 1];
    return {net.layer_norm ? net.scratch + before.normal : net.kept + before.active, before.stride};
}

constexpr T NORM_EPS = T(1e-5);

DS_FN T total(R a)
{
#if DS_LANES == 8
    typedef T Half __attribute__((vector_size(4 * sizeof(T))));
    Half b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
#else
    R b = a;
#endif
    return (b[0] + b[2]) + (b[1] + b[3]);
}

// Lanes before `count`, from the first.
DS_FN Mask first_lanes(int count)
{
    Mask lane;
    for (int l = 0; l < DS_LANES; l++) lane[l] = l;
    return lane < count;
}
// Call `part(column, mask)` for the vectors of a row; the mask has the lanes that are columns.
template <class F> DS_FN void columns(int count, F part)
{
    int i = 0;
    for (; i + DS_LANES <= count; i += DS_LANES) part(i, first_lanes(DS_LANES));
    if (i < count) part(i, first_lanes(count - i));
}
// The same for what is written, `value(column, mask)`, with zeros up to `width`.
template <class F> DS_FN void write_columns(int count, int width, T* to, F value)
{
    columns(count, [&](int i, Mask within) { write(to + i, select(within, value(i, within), R{})); });
    for (int i = (count + DS_LANES - 1) / DS_LANES * DS_LANES; i < width; i += DS_LANES) write(to + i, R{});
}
// Add the sum over rows of `value(row, column)`.
template <class F> DS_FN void add_columns(int count, T* to, int rows, F value)
{
    columns(count, [&](int i, Mask within) {
        R sum = {};
        for (int r = 0; r < rows; r++) sum = sum + value(r, i);
        write(to + i, read(to + i) + select(within, sum, R{}));
    });
}

// Normalised activations of a layer, from what is kept.
DS_FN void normal_rows(const Network& net, const Layer& layer, int rows)
{
    const T *active = net.kept + layer.active, *mean = net.kept + layer.mean, *inverse = net.kept + layer.inverse;
    const T *scale = net.parameters + layer.scale, *shift = net.parameters + layer.shift;
    const int n = layer.stride;
    for (int r = 0; r < rows; r++) {
        const T *e = active + r * n, m = mean[r], inv = inverse[r];
        write_columns(layer.outputs, layer.width, net.scratch + layer.normal + r * n, [&](int i, Mask) {
            return fma_((read(e + i) - m) * inv, read(scale + i), read(shift + i));
        });
    }
}

// Activation and normalisation of a layer's sums. Each pass handles all rows, so that no row waits for the totals, roots and
// quotients of the one before it. Nothing is changed in place: the compiler would make masked stores of it, which are slow.
template <int ACTIVATION> DS_ENTRY void activate_rows(const Network& net, const Layer& layer, int rows)
{
    T *active = net.kept + layer.active, *extra = net.kept + layer.extra;
    T *mean = net.kept + layer.mean, *inverse = net.kept + layer.inverse;
    const int n = layer.stride;
    const T share = T(1) / T(layer.outputs);
    for (int r = 0; r < rows; r++) {
        R all = {};
        write_columns(layer.outputs, layer.width, active + r * n, [&](int i, Mask within) {
            R s = {}, value = select(within, activate<ACTIVATION>(read(net.sums + r * n + i), s), R{});
            if (ACTIVATION == SILU) write(extra + r * n + i, s);
            all = all + value;
            return value;
        });
        mean[r] = share * total(all);
    }
    if (!net.layer_norm) return;
    for (int r = 0; r < rows; r++) {
        const T *e = active + r * n, m = mean[r];
        R squares = {};
        columns(layer.outputs, [&](int i, Mask within) {
            R d = select(within, read(e + i) - m, R{});
            squares = fma_(d, d, squares);
        });
        inverse[r] = T(1) / __builtin_elementwise_sqrt(share * total(squares) + NORM_EPS);
    }
    normal_rows(net, layer, rows);
}

// The cotangents of a layer's sums from those of its output; the gradients of scale, shift and bias are added.
template <int ACTIVATION> DS_ENTRY void pull_back_rows(const Network& net, const Layer& layer, int rows)
{
    const T* pull = net.pull;
    const T *active = net.kept + layer.active, *extra = net.kept + layer.extra;
    const T *mean = net.kept + layer.mean, *inverse = net.kept + layer.inverse;
    const T* scale = net.parameters + layer.scale;
    const int n = layer.stride;
    const T share = T(1) / T(layer.outputs);
    auto normal = [&](int r, int i) { return (read(active + r * n + i) - mean[r]) * inverse[r]; };
    T level[BLOCK], tilt[BLOCK];
    if (net.layer_norm) {
        if (net.grad) {
            T *scale_grad = net.grad + layer.scale, *shift_grad = net.grad + layer.shift;
            add_columns(layer.outputs, scale_grad, rows, [&](int r, int i) { return read(pull + r * n + i) * normal(r, i); });
            add_columns(layer.outputs, shift_grad, rows, [&](int r, int i) { return read(pull + r * n + i); });
        }
        for (int r = 0; r < rows; r++) {
            R a = {}, b = {};
            columns(layer.outputs, [&](int i, Mask within) {
                R g = select(within, read(pull + r * n + i) * read(scale + i), R{});
                a = a + g;
                b = b + select(within, g * normal(r, i), R{});
            });
            level[r] = share * total(a);
            tilt[r] = share * total(b);
        }
    }
    for (int r = 0; r < rows; r++) {
        write_columns(layer.outputs, layer.width, net.sums + r * n, [&](int i, Mask) {
            R g = read(pull + r * n + i);
            if (net.layer_norm) g = inverse[r] * (g * read(scale + i) - level[r] - normal(r, i) * tilt[r]);
            return slope<ACTIVATION>(g, read(active + r * n + i), ACTIVATION == SILU ? read(extra + r * n + i) : R{});
        });
    }
    if (!net.grad) return;
    add_columns(layer.outputs, net.grad + layer.bias, rows, [&](int r, int i) { return read(net.sums + r * n + i); });
}

DS_FN void activate_rows(const Network& net, const Layer& layer, int rows)
{
    if (net.activation == ELU) return activate_rows<ELU>(net, layer, rows);
    if (net.activation == SILU) return activate_rows<SILU>(net, layer, rows);
    if (net.activation == RELU) return activate_rows<RELU>(net, layer, rows);
    activate_rows<TANH>(net, layer, rows);
}
DS_FN void pull_back_rows(const Network& net, const Layer& layer, int rows)
{
    if (net.activation == ELU) return pull_back_rows<ELU>(net, layer, rows);
    if (net.activation == SILU) return pull_back_rows<SILU>(net, layer, rows);
    if (net.activation == RELU) return pull_back_rows<RELU>(net, layer, rows);
    pull_back_rows<TANH>(net, layer, rows);
}

// Copy input rows, those of the numbers in `order` or else one after the other, to the scratch.
DS_FN void load_rows(const Network& net, const T* x, const int* order, int rows)
{
    for (int r = 0; r < rows; r++) {
        const T* from = x + size_t(order ? order[r] : r) * net.inputs;
        T* to = net.scratch + r * net.stride;
        for (int i = 0; i < net.inputs; i++) to[i] = from[i];
    }
}

// The sums of a layer, from its input.
DS_FN void sum_rows(const Network& net, int k, int rows)
{
    const Layer& layer = net.layers[k];
    const T *weight = net.parameters + layer.weight, *bias = net.parameters + layer.bias;
    const Input input = input_of(net, k);
    times_panels(input.rows, input.stride, rows, layer.inputs, weight, bias, net.sums, layer.stride, layer.width);
}

// All hidden layers forward.
DS_FN void hidden_rows(const Network& net, int rows)
{
    for (int k = 0; k < net.depth; k++) {
        sum_rows(net, k, rows);
        activate_rows(net, net.layers[k], rows);
    }
}

// Add the gradient of a layer's weight, from the cotangents of its sums.
DS_FN void add_weight(const Network& net, int k, int rows)
{
    if (!net.grad) return;
    const Layer& layer = net.layers[k];
    const Input input = input_of(net, k);
    T* weight = net.grad + layer.weight;
    add_outer(input.rows, input.stride, net.sums, layer.stride, rows, layer.inputs, weight, layer.width);
}

// The cotangents of a layer's input, `stride` numbers from row to row, from those of its sums.
DS_FN void pull_input(const Network& net, int k, int rows, int stride)
{
    const Layer& layer = net.layers[k];
    const int width = (layer.inputs + PANEL - 1) / PANEL * PANEL;
    times_panels(net.sums, layer.stride, rows, layer.outputs, net.turned + layer.turned, nullptr, net.pull, stride, width);
}

// All hidden layers back, from the cotangents `pull` of the last one's output; those of the first one's sums remain.
DS_FN void pull_back_hidden(const Network& net, int rows)
{
    for (int k = net.depth - 1; k >= 0; k--) {
        pull_back_rows(net, net.layers[k], rows);
        add_weight(net, k, rows);
        if (k) pull_input(net, k, rows, net.layers[k - 1].stride);
    }
}

}  // namespace ds
