// SPDX-License-Identifier: Apache-2.0
// Any penalty with a prox, applied by its prox after the step in place of its gradient before it.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/prefixed_name.hpp>
#include <espalier/penalty/concept.hpp>

#include <string_view>

namespace espalier::penalty {

/// The op of `proximal`: value and prox of Op; the update does not add its gradient.
template <class Op> struct proximal_op : Op { static constexpr bool proximal = true; };

namespace detail {

struct proximal_prefix {
    static constexpr std::string_view text = "proximal_";
};

template <class Penalty> consteval bool can_be_proximal() {
    using op = typename espalier::detail::op_type<Penalty>::type;
    return policy<Penalty> && has_prox<op, float> && has_prox<op, double>;
}

} // namespace detail

/// Proximal gradient descent for Penalty: w <- prox(w - rate * gradient, rate), where rate is the learning rate of the
/// step times the tensor's factor (Parikh and Boyd 2014, section 4.2). Under an adaptive optimizer the prox uses that
/// rate too, not the one of the single weight. Needs a penalty with a prox: `proximal<l1<1e-4>>`.
///
/// Over groups, `proximal<group_lasso<1e-3, over::columns>>`, the prox needs the norms of the stepped weights of all
/// tensors that share the groups. They are known when the update pass is over: the tensors of the network that carry
/// penalties over groups are passed over once more, after the element-wise proxes (l1 and then the groups: the sparse
/// group lasso, Simon et al. 2013). A tensor carries one of them.
template <class Penalty> struct proximal : Penalty {
    static_assert(diagnostic::holds<detail::can_be_proximal<Penalty>(), diagnostic::from_policy<Penalty>>,
                  "espalier: penalty::proximal needs a penalty with `template <class T> T prox(T w, element_about<T> "
                  "const& about) const`; the next line names what it was given");
    static constexpr std::string_view name = espalier::detail::prefixed_name<detail::proximal_prefix, Penalty>;
    using op = proximal_op<op_of<Penalty>>;
    static op at(clock const& now) { return op{op_at<Penalty>(now)}; }
    /// Looked up where it is used: few penalties have it.
    template <over Side, class Of = Penalty> using along = proximal<typename Of::template along<Side>>;
};

} // namespace espalier::penalty
