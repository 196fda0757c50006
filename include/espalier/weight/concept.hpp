// SPDX-License-Identifier: Apache-2.0
// What an element-wise weight policy is: a map from the raw weight, which the optimizer moves, to the effective one,
// which the products read.
//
// Archetype:
//
//     struct my_map {
//         using axis = espalier::axis::weight;
//         static constexpr bool uses_mask = false;     // whether `about.keep` comes from a bit mask; true otherwise
//         static constexpr bool needs_operand = false; // whether effective weights differ from the stored ones, so the
//                                                      // update must write a second copy for the products
//         static constexpr bool only_marks = false;    // true: what the mask leaves out is no zero, it is only marked
//         static constexpr bool freezes = false;       // true: what the mask leaves out keeps its value, whatever acts
//                                                      // on the tensor; `store` gives `about.weight` there
//         template <class T> ESPALIER_FN T effective(T raw) const; // what products read
//         template <class T> ESPALIER_FN T pull(T g) const;        // gradient of the raw weight from that of the
//                                                                  // effective one
//         template <class T> ESPALIER_FN T store(T next) const;    // what is stored after the step
//     };
//
// Each of the three may have `element_about<T> const& about` as its last argument (core/element_about.hpp): `pull`
// finds the raw weight in it, and a map with a mask finds there whether it keeps the weight. For `effective` the raw
// weight is its argument, and there is nothing but the weight, the mask and companions: what products read must not
// depend on the step that wrote it. T is float, double or a pack of them.
//
// A map may read one or two further tensors of its tensor's extents, which stay as they were set. Each is a tensor of
// the layer with a name of its own, "1.kernel" beside "1.score", and comes from `load_base`, `set_companion` or a file:
// before that no pass runs. No masks are selected where there is such a map.
//
//     static constexpr int companions = 1;                                          // at most 2
//     static constexpr std::string_view companion_names[companions] = {"kernel"};
//     static constexpr bool needs_operand = true;                                   // always
//     // in its functions: about.companion[0]
//
// A map whose op has `scalars` is made of trained numbers of its tensor, one or two, each a tensor of its own of
// role::scalar. An update sums up their gradients while it pulls those of the weights back, and steps them after that
// with the same optimizer, without decay and without penalties and transforms. What products read depends on what they
// are then, so a further pass over the weights writes it.
//
//     struct my_scalars_op {
//         static constexpr int scalars = 2;
//         static constexpr std::string_view scalar_names[scalars] = {"log_a", "log_b"}; // of "1.kernel.log_a"
//         static constexpr bool needs_operand = true; // always
//         scalar_values<double> start() const;        // their first values
//         template <class T> ESPALIER_FN my_scalars_op with(scalar_values<T> const&) const; // the map that they make
//         // of that map: what one weight adds to their gradients, from that of its effective weight
//         template <class T> ESPALIER_FN scalar_values<T> scalar_gradients(T g, element_about<T> const& about) const;
//         // and the functions of every map
//     };
//
// The policy then has `static constexpr double scalar_rate`, the factor of their learning rate: a sum over all weights
// has a larger gradient than any of them.
//
// A map from which raw weights can be found again may have `double raw(double effective) const`, which gives the one
// that `effective` makes that number of, and NaN where there is none: `weight::warm_start` asks it.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/companions.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/weight/axis.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace espalier::weight {

/// Trained numbers that a map may be made of.
inline constexpr int max_scalars = 2;

/// One value for each of them, or for the first alone. Members and no array, which compilers would keep in memory.
template <class T> struct scalar_values {
    T first = T(scalar_of<T>(0));
    T second = T(scalar_of<T>(0));

    ESPALIER_FN constexpr T const& operator[](int k) const { return k == 0 ? first : second; }
};

template <class M>
concept has_uses_mask = requires {
    { M::uses_mask } -> std::convertible_to<bool>;
};

template <class M>
concept has_needs_operand = requires {
    { M::needs_operand } -> std::convertible_to<bool>;
};

namespace detail {
ESPALIER_ABOUT_FORMS(pull)
ESPALIER_ABOUT_FORMS(effective)
ESPALIER_ABOUT_FORMS(store)

/// What products read of a raw weight. The copies are written by a step, made anew without one and compared by a
/// selection of masks, so of `about` there is what all of them know. Of tensors whose map reads companions no masks are
/// selected.
template <class M, class T>
ESPALIER_FN T effective_weight(M const& map, T const& raw, mask_of<T> const& keep,
                               companion_values<T> const& companion = {}) {
    return effective(map, element_about<T>{.weight = raw, .keep = keep, .companion = companion}, raw);
}

template <class M>
concept counts_scalars = requires {
    { M::scalars } -> std::convertible_to<int>;
};

/// How many trained numbers a map is made of.
template <class M> consteval int map_scalars() {
    if constexpr (counts_scalars<M>)
        return M::scalars;
    else
        return 0;
}

/// From one trained number of a tensor to the next. They lie behind its elements.
inline constexpr index_t scalar_stride = padded(1);

/// The map that the trained numbers of its tensor make.
template <class M, class W> ESPALIER_FN M with_scalars(M const& map, [[maybe_unused]] W const* scalars) {
    if constexpr (map_scalars<M>() > 1)
        return map.with(scalar_values<W>{scalars[0], scalars[scalar_stride]});
    else if constexpr (map_scalars<M>() == 1)
        return map.with(scalar_values<W>{scalars[0]});
    else
        return map;
}
} // namespace detail

template <class M, class T>
concept has_pull = requires(M const& map, element_about<T> const& about, T g) {
    { detail::pull(map, about, g) } -> gives<T>;
};

template <class M, class T>
concept has_store = requires(M const& map, element_about<T> const& about, T next) {
    { detail::store(map, about, next) } -> gives<T>;
};

template <class M, class T>
concept has_effective = requires(M const& map, element_about<T> const& about, T raw) {
    { detail::effective(map, about, raw) } -> gives<T>;
};

template <class M>
concept has_scalar_names = requires {
    { M::scalar_names[0] } -> std::convertible_to<std::string_view>;
};

template <class P>
concept has_scalar_rate = requires {
    { P::scalar_rate } -> std::convertible_to<double>;
};

template <class M, class T>
concept has_scalar_gradients = requires(M const& map, element_about<T> const& about, T g) {
    { map.scalar_gradients(g, about) } -> std::same_as<scalar_values<T>>;
};

template <class M>
concept has_with = requires(M const& map, scalar_values<float> const& single, scalar_values<double> const& wide) {
    { map.with(single) } -> std::same_as<M>;
    { map.with(wide) } -> std::same_as<M>;
    { map.start() } -> std::same_as<scalar_values<double>>;
};

/// The op of a weight policy or of a mask rule: what core/update.hpp calls `Map`.
template <class M>
concept element_map = std::is_trivially_copyable_v<M> && has_uses_mask<M> && has_needs_operand<M> &&
    has_pull<M, float> && has_pull<M, double> && has_store<M, float> && has_store<M, double> &&
    has_effective<M, float> && has_effective<M, double> && has_pull<M, native_pack<float>> &&
    has_store<M, native_pack<float>> && has_effective<M, native_pack<float>>;

} // namespace espalier::weight

namespace espalier {

namespace detail {

template <class Op> consteval bool scalar_names_fit() {
    if constexpr (espalier::weight::has_scalar_names<Op>) {
        if (std::size(Op::scalar_names) != static_cast<std::size_t>(Op::scalars)) return false;
        for (int k = 0; k < Op::scalars; ++k)
            if (Op::scalar_names[k].empty() || (k > 0 && Op::scalar_names[k] == Op::scalar_names[0])) return false;
        return true;
    } else {
        return false;
    }
}

template <class P> consteval double scalar_rate_of() {
    if constexpr (espalier::weight::has_scalar_rate<P>)
        return P::scalar_rate;
    else
        return 0.0;
}

/// What an op needs that maps weights.
template <class Asked> consteval bool map_members() {
    using op = typename Asked::op;
    constexpr bool flags = espalier::weight::has_uses_mask<op> && espalier::weight::has_needs_operand<op>;
    ESPALIER_NEEDS(flags, "a weight map needs `static constexpr bool uses_mask` and `needs_operand` in its op");
    ESPALIER_NEEDS_OF_T(pull, espalier::weight::has_pull,
                        "a weight map needs `template <class T> ESPALIER_FN T pull(T g) const` in its op, the "
                        "gradient of the raw weight; `element_about<T> const& about` may follow g: it has the "
                        "weight and whether the mask keeps it");
    ESPALIER_NEEDS_OF_T(store, espalier::weight::has_store,
                        "a weight map needs `template <class T> ESPALIER_FN T store(T next) const` in its op, what "
                        "is kept after the step; `element_about<T> const& about` may follow next");
    ESPALIER_NEEDS_OF_T(effective, espalier::weight::has_effective,
                        "a weight map needs `template <class T> ESPALIER_FN T effective(T raw) const` in its op, "
                        "what products read; `element_about<T> const& about` may follow raw");
    constexpr bool named = names_companions<op>() && (op_companions<op>() == 0 || (flags && op::needs_operand));
    ESPALIER_NEEDS(named, "a weight map that reads companions of the weights needs `static constexpr int companions = "
                          "1;` (or 2), `static constexpr std::string_view companion_names[companions] = {\"kernel\"};` "
                          "and `needs_operand = true` in its op");
    if constexpr (espalier::weight::detail::counts_scalars<op>) {
        constexpr bool count = op::scalars >= 1 && op::scalars <= espalier::weight::max_scalars;
        ESPALIER_NEEDS(count, "`scalars` of a weight map is 1 or 2, the number of trained numbers that it is made of");
        ESPALIER_NEEDS(flags && op::needs_operand, "a weight map with `scalars` needs `needs_operand = true`: what "
                                                   "products read changes with them");
        constexpr bool names = scalar_names_fit<op>();
        ESPALIER_NEEDS(names, "a weight map with `scalars` needs as many different names in `static constexpr "
                              "std::string_view scalar_names[scalars]`");
        constexpr bool rate = scalar_rate_of<typename Asked::policy>() > 0.0;
        ESPALIER_NEEDS(rate, "a weight map with `scalars` needs `static constexpr double scalar_rate` in the policy, "
                             "positive, the factor of their learning rate");
        constexpr bool made = espalier::weight::has_with<op>;
        ESPALIER_NEEDS(made, "a weight map with `scalars` needs `scalar_values<double> start() const`, their first "
                             "values, and `template <class T> ESPALIER_FN my_op with(scalar_values<T> const&) const`, "
                             "the map that they make");
        ESPALIER_NEEDS_OF_T(gradients, espalier::weight::has_scalar_gradients,
                            "a weight map with `scalars` needs `template <class T> ESPALIER_FN scalar_values<T> "
                            "scalar_gradients(T g, element_about<T> const& about) const`, what a weight adds to the "
                            "gradients of the numbers");
        return flags && pull && store && effective && named && count && names && rate && made && gradients;
    } else {
        return flags && pull && store && effective && named;
    }
}

} // namespace detail

/// What a policy on the axis needs: an operator has a contract of its own.
template <class Asked> consteval bool axis::weight::members() {
    if constexpr (reaches_kernels<typename Asked::policy>)
        return detail::map_members<Asked>();
    else
        return true;
}

} // namespace espalier
