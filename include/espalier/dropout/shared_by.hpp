// SPDX-License-Identifier: Apache-2.0
// A dropout whose draws follow a tag of the rows.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/prefixed_name.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/dropout/concept.hpp>

#include <concepts>
#include <string_view>

namespace espalier::dropout {

/// The op of `shared_by`: that of Op, drawn at the place that the tag gives a row.
template <class Op, class Tag> struct shared_op : Op { using place = Tag; };

namespace detail {
struct shared_prefix {
    static constexpr std::string_view text = "shared_";
};

template <auto Tag>
concept whole_tag = std::integral<typename row_tag<Tag>::value>;
} // namespace detail

/// Dropout with the same draws for all rows of equal tag: `shared_by<&rows::group, bernoulli<0.5>>` drops the same
/// elements of all rows of a group (the time steps of a sequence: the variational dropout of Gal and Ghahramani 2016),
/// `shared_by<&rows::sample, ...>` those of a sample wherever it stands in the batch. Draws still change from step to
/// step and from layer to layer. A batch without the tag draws by row. Tag: origin, sample, label, partner_label, group
/// or key; numbers of 64 bits are folded to 32, so that two of them may share their draws by chance.
template <auto Tag, class Dropout> struct shared_by : Dropout {
    static_assert(diagnostic::holds<policy_on<Dropout, axis::dropout>, diagnostic::from_policy<Dropout>>,
                  "espalier: dropout::shared_by stands around a dropout; the next line names what it was given");
    static_assert(diagnostic::holds<detail::whole_tag<Tag>, diagnostic::from_policy<Dropout>>,
                  "espalier: dropout::shared_by needs a tag of whole numbers: &rows::origin, sample, label, "
                  "partner_label, group or key");
    static constexpr std::string_view name = espalier::detail::prefixed_name<detail::shared_prefix, Dropout>;
    using op = shared_op<op_of<Dropout>, row_tag<Tag>>;
    static op at(clock const& now) { return {op_at<Dropout>(now)}; }
};

} // namespace espalier::dropout
