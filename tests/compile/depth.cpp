// SPDX-License-Identifier: Apache-2.0
// A deep stack, or a layer with many policies, bound and described. The macros STACK_* choose which; every mistake that
// makes anything recurse over the depth stops this file under g++ (900 levels) and before that under nvcc (200).
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>

#include <cstddef>
#include <utility>

namespace {

using namespace espalier;

#if defined(STACK_EQUAL)
template <std::size_t> struct layer_at { using type = dense<64>; };
#elif defined(STACK_DIFFERENT)
template <std::size_t At> struct layer_at { using type = dense<static_cast<int>(At) + 1>; };
#endif

#if defined(STACK_EQUAL) || defined(STACK_DIFFERENT)
template <class Indices> struct deep;
template <std::size_t... At> struct deep<std::index_sequence<At...>> {
    // A member, not an alias template: nvcc loses the parameter of an alias that does not use it.
    using type = sequence<input<64>, typename layer_at<At>::type...>;
};
// 256 equal layers, or 257 different ones
#if defined(STACK_EQUAL)
using stack = deep<std::make_index_sequence<256>>::type;
constexpr int tensors = 512;
#else
using stack = deep<std::make_index_sequence<257>>::type;
constexpr int tensors = 514;
#endif

#elif defined(STACK_POLICIES)
template <class Indices> struct many;
template <std::size_t... At> struct many<std::index_sequence<At...>> {
    using type = sequence<input<64>, dense<64, penalty::l2<1e-3 * (At + 1)>...>>;
};
using stack = many<std::make_index_sequence<64>>::type;
constexpr int tensors = 2;
#else
#error "define STACK_EQUAL, STACK_DIFFERENT or STACK_POLICIES"
#endif

using layer = stack::bind<shape{}, type_list<>>;

/// A device that does nothing: what is measured is the walk over the layers.
struct nothing {
    template <class T, class Product> static std::size_t product_scratch(index_t, index_t, index_t) { return 0; }
    template <class Product, class... Arguments> void product_forward(Arguments const&...) {}
    template <class Product, class... Arguments> void product_input_gradient(Arguments const&...) {}
    template <class Product, class... Arguments> void product_weight_gradient(Arguments const&...) {}
    template <class... Arguments> void column_sums(Arguments const&...) {}
    template <class... Arguments> void update(Arguments const&...) {}
    template <class... Arguments> void initialise(Arguments const&...) {}
    template <class... Arguments> void copy(Arguments const&...) {}
};
static_assert(layer::size<float>().tensors == tensors);
#if defined(STACK_POLICIES)
static_assert(layer::size<float>().terms == 64);
#endif

} // namespace

// Everything that a network does with a layer without a device.
espalier::layer_report report_of_deep_stack() {
    espalier::layer_report report;
    layer::describe(report, "", {});
    return report;
}
espalier::index_t parameters_of_deep_stack() {
    return layer::size<float>().parameters + layer::work<float>().bytes(32);
}
// One step of training, and what comes before the first.
void step_of_deep_stack(espalier::layer_memory<float> const& memory, espalier::clock const& now) {
    using namespace espalier;
    nothing device;
    context<nothing, float, mode::train> here{device};
    auto const numbers = layer::at(now);
    matrix_view<float> x{}, y{};
    layer::initialise(here, memory);
    layer::forward(here, numbers, memory, rows{}, matrix_view<float const>(x), y);
    layer::backward<differentiate{true, true}>(here, numbers, memory, rows{}, matrix_view<float const>(x),
                                               matrix_view<float const>(y), y, x);
    layer::update(here, no_step{}, numbers, memory, update_numbers{});
}
