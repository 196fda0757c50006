// SPDX-License-Identifier: Apache-2.0
// A dropout that leaves what it keeps as it is.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/prefixed_name.hpp>
#include <espalier/dropout/concept.hpp>

#include <string_view>

namespace espalier::dropout {

namespace detail {
struct unscaled_prefix {
    static constexpr std::string_view text = "unscaled_";
};

template <class Op>
concept has_scale = requires(Op& op) {
    op.scale = 1.0;
};
} // namespace detail

/// Dropout without the division by the probability of keeping: y = x k, so that E[y] = (1 - rate) x. For what is there
/// or not, an input that may be missing when the network is used, where evaluation with all of it is one of the cases
/// that were trained. Same op and same draws as Dropout. Needs a dropout with a `scale`: bernoulli, drop_path,
/// drop_segment, drop_step and what shares their draws.
template <class Dropout> struct unscaled : Dropout {
    static_assert(diagnostic::holds<(policy_on<Dropout, axis::dropout> &&
                                     detail::has_scale<typename espalier::detail::op_type<Dropout>::type>),
                                    diagnostic::from_policy<Dropout>>,
                  "espalier: dropout::unscaled needs a dropout whose op has a member `scale`: bernoulli, drop_path, "
                  "drop_segment or drop_step; the next lines name what it was given");
    static constexpr std::string_view name = espalier::detail::prefixed_name<detail::unscaled_prefix, Dropout>;
    static constexpr bool keeps_mean = false;
    using op = op_of<Dropout>;
    static op at(clock const& now) {
        op numbers = op_at<Dropout>(now);
        numbers.scale = 1.0;
        return numbers;
    }
};

} // namespace espalier::dropout
