// SPDX-License-Identifier: Apache-2.0
// expect: an embedding reads ids from its input, and 16-bit numbers do not hold them
// expect: give the network activations in float
// An embedding in a network with 16-bit activations.
#include <espalier/core/context.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct sixteen_bits {
    unsigned short bits;
};
template <> struct espalier::master<sixteen_bits> { using type = float; };
struct far_away {
    static constexpr bool host_memory = false;
    void embed(auto&&...) {}
};
#ifdef ESPALIER_POSITIVE_TWIN
using number = float;
#else
using number = sixteen_bits;
#endif
using stack = sequence<input<2>, embedding<vocabulary<5, 7>, 3>>;
template <class T> void run(far_away& device, matrix_view<T const> x, matrix_view<T> y) {
    using layer = typename stack::template bind<shape{}, type_list<>>;
    context<far_away, T, mode::train> training{device};
    layer::forward(training, layer::at(espalier::clock{}), layer_memory<T>{}, rows{}, x, y);
}
void run_stack(far_away& device) {
    run<number>(device, {}, {});
}
