// A network's parameters in our order and in torch's.
#pragma once
#include "mlp.h"

namespace ds {

// From torch's order of one network's parameters to ours or, with BACK, from ours to torch's.
template <bool BACK> DS_ENTRY void reorder(const Layer* layers, int depth, bool layer_norm, T* theirs, T* ours)
{
    auto move = [&](T* our) {
        if (BACK) *theirs = *our;
        else *our = *theirs;
        theirs++;
    };
    for (int k = 0; k <= depth; k++) {
        const Layer& layer = layers[k];
        for (int o = 0; o < layer.outputs; o++) {
            T* column = ours + layer.weight + o / layer.panel * layer.panel * layer.inputs + o % layer.panel;
            for (int i = 0; i < layer.inputs; i++) move(column + i * layer.panel);
        }
        for (int o = 0; o < layer.outputs; o++) move(ours + layer.bias + o);
        const int normalised = layer_norm && k < depth ? layer.outputs : 0;
        for (int o = 0; o < normalised; o++) move(ours + layer.scale + o);
        for (int o = 0; o < normalised; o++) move(ours + layer.shift + o);
    }
}

// The transposed weights of the layers from `first` to before `end`, in panels.
DS_ENTRY void turn(const Layer* layers, int first, int end, const T* parameters, T* turned)
{
    for (int k = first; k < end; k++) {
        const Layer& layer = layers[k];
        T* to = turned + layer.turned;
        const int width = (layer.inputs + PANEL - 1) / PANEL * PANEL;
        for (int o = 0; o < layer.outputs; o += PANEL) {
            const T* from = parameters + layer.weight + size_t(o) * layer.inputs;
            const int count = layer.outputs - o < PANEL ? layer.outputs - o : PANEL;
            for (int i = 0; i < width; i++) {
                T* column = to + size_t(i / PANEL * PANEL) * layer.outputs + o * PANEL + i % PANEL;
                for (int q = 0; q < count; q++) column[q * PANEL] = i < layer.inputs ? from[i * PANEL + q] : T(0);
            }
        }
    }
}

DS_FN void clear(T* from, size_t count)
{
    for (size_t i = 0; i < count; i += DS_LANES) write(from + i, R{});
}

}  // namespace ds
