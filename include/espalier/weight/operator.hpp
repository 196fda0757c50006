// SPDX-License-Identifier: Apache-2.0
// host only. What a weight policy is that stands in place of the dense product: an operator with tensors of its own.
//
// Archetype. The policy is the configuration; `bind` gives, for the extents of a layer and the policies of its list,
// static functions over views:
//
//     struct my_operator {
//         using axis = espalier::axis::weight;
//         static constexpr std::string_view name = "mine";
//         static constexpr role_set tensor_roles = roles(role::factor); // optional, of its tensors: a penalty or a
//                                                                       // transform that acts on none is refused then
//         template <index_t In, index_t Out, class... Ps> using bind = bound_mine<In, Out, Ps...>;
//         // optional: whether it can stand in a layer of those extents and policies, or a sentence why not
//         template <class Where, class Layer, index_t In, index_t Out, class... Ps> static consteval bool check();
//     };
//     struct bound_mine {
//         static constexpr need needs; // what its tensors need, layer/concept.hpp
//         static constexpr index_t parameters;                      // trained values, for `describe`
//         static constexpr double flops;                            // of one row, forward, for `describe`
//         struct numbers;                                           // this operator's part of the step block
//         static numbers at(clock const&);
//         template <class T> static constexpr footprint size();     // tensors, and the tape it keeps
//         template <class T> static constexpr extent work();        // memory needed only while backward runs
//         template <class Device, class T> static std::size_t scratch(index_t capacity); // for its products
//         // z = operator(x) + offset; `offset` is null without a bias
//         template <class Context, class T>
//         static void forward(Context&, numbers const&, layer_memory<T> const&, matrix_view<T const> x,
//                             master_of<T> const* offset, matrix_view<T> z);
//         // gradients of its tensors into m.gradients when Want.parameters, dx when Want.inputs
//         template <differentiate Want, class Context, class T>
//         static void backward(Context&, numbers const&, layer_memory<T> const&, matrix_view<T const> x,
//                              matrix_view<T const> dz, matrix_view<T> dx);
//         template <class Context, class Optimizer, class T>
//         static void update(Context&, Optimizer const&, numbers const&, layer_memory<T> const&,
//                            update_numbers const&);
//         template <class Context, class T> static void initialise(Context&, layer_memory<T> const&);
//         template <class Asked> static consteval bool has_tensor(); // optional, layer/concept.hpp
//         static constexpr rank_info ranks; // optional, of a product of two factors, layer/report.hpp
//         static void describe(layer_report&, std::string const& path, footprint const& at); // its tensors, from `at`
//         on
//         // the In x Out matrix W with operator(x) = x W at that time; `parameters` is where its first tensor begins,
//         // `fixed` where the first one that is not trained does
//         template <class W>
//         static void bake(W const* parameters, W const* fixed, clock const&, matrix_view<W> kernel);
//     };
//
// A dense layer with an operator has no tensor "kernel", so nothing that acts on role::kernel acts on it.
#pragma once

#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/weight/axis.hpp>

#include <type_traits>

namespace espalier::weight {

template <class P>
concept has_bind = requires {
    typename P::template bind<2, 2>;
};

/// A weight policy that replaces the product of a layer; the others map the elements of its kernel.
template <class P>
concept weight_operator = policy_on<P, axis::weight> && has_bind<P>;

namespace detail {
/// In the place of what a check is told.
struct any_place {};
} // namespace detail

/// An operator that does not fit everywhere.
template <class P>
concept checks_extents = weight_operator<P> && requires {
    {P::template check<detail::any_place, detail::any_place, index_t{1} << 20, index_t{1} << 20>()};
};

} // namespace espalier::weight
