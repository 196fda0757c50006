// SPDX-License-Identifier: Apache-2.0
// expect: a batch policy needs .*void apply\(batch_memory<T>& batch, index_t n, shape of_row
// expect: given_type<.*my_batch
// nvcc: skip training is host code
// A batch policy whose function cannot be called, which would leave the rows as they are without a word.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
using namespace espalier;
using stack = sequence<input<4>, dense<2>>;
struct my_batch {
    static constexpr std::string_view name = "mine";
    static constexpr bool mixes = false;
    template <class T>
    void apply(batch::batch_memory<T>& batch, index_t n, shape, espalier::clock const&, random_site const&)
#ifdef ESPALIER_POSITIVE_TWIN
        const
#endif
    {
        for (index_t r = 0; r < n; ++r)
            for (index_t c = 0; c < batch.inputs.columns; ++c)
                batch.inputs(r, c) = -batch.source(r, c);
    }
};
void train(network<stack, device::cpu, float>& model, data_set const& data) {
    fit(model, loss::mean_squared_error{}, optimizer::sgd{}, data, {}, my_batch{});
}
