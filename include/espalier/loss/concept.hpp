// SPDX-License-Identifier: Apache-2.0
// What a loss is: a function of one row of outputs and of what the batch says about that row.
//
// Archetype. A loss is a value that the user passes, a trivially copyable aggregate of numbers, and its own op:
//
//     struct my_loss {
//         double smoothing = 0.0;                              // numbers, set when training starts
//
//         static constexpr std::string_view name = "mine";     // what the history prints
//         static constexpr bool needs_labels = true;           // each flag is false when it is not declared
//         static constexpr bool needs_dense_target = false;    // reads target.dense
//         static constexpr bool skips_missing_targets = false; // a target that is NaN counts as none
//         static constexpr bool per_sample_state = false;      // reads and writes N numbers of the row's sample
//         constexpr char const* problem() const;               // optional: why the numbers make no sense, or null
//
//         template <class Group, class T, int N>
//         ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
//                                row<Group, T, N>* dz, row<Group, T, N>* state) const;
//     };
//
// `evaluate` returns the loss of the row, the same value on every lane, and leaves d loss / d z in `dz` unless that is
// null. Neither is reduced or weighted: the driver multiplies by the row's weight and sign and divides by the number of
// rows that count. A row stands for one row, or for as many rows as a pack has elements, so the code selects and never
// branches on a value of type T. `z` may not be changed, `dz` never is `&z`.
//
// State. `state` holds the N numbers of the row's sample, 0 before its first visit. Training reads them, lets
// `evaluate` change them and writes them back, once per visit. In evaluation `state` is null: nothing is remembered,
// and a loss leaves out the terms that need its memory.
//
// Several outputs of one row (multi_sample). A loss with state then has, beside `evaluate`,
//
//         // sum += what of this output enters the memory
//         template <class Group, class T, int N>
//         ESPALIER_FN void add_prediction(Group const& group, row<Group, T, N> const& z, row<Group, T, N>& sum) const;
//         // state <- the memory after a visit whose outputs are `sum / copies` on average
//         template <class Group, class T, int N>
//         ESPALIER_FN void remember(Group const& group, row<Group, T, N> const& sum, int copies,
//                                   row<Group, T, N>& state) const;
//         // as `evaluate`, with a memory that took the visit in
//         template <class Group, class T, int N>
//         ESPALIER_FN T judge(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
//                             row<Group, T, N>* dz, row<Group, T, N> const& state) const;
//
// so that a sample's memory changes once a visit, by the mean over its outputs.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>

#include <concepts>
#include <type_traits>

namespace espalier::loss {

/// What the batch says about a row. Labels are column numbers of type T and lie in [0, N): ignored rows never get here.
/// The target of a labelled row is mixing * onehot(label) + (1 - mixing) * onehot(partner_label); a row that was not
/// mixed has mixing 1 and partner_label equal to label.
template <class Group, class T, int N> struct row_target {
    T label{};
    T partner_label{};
    T mixing{};
    T weight{};                              ///< weight * sign, for a loss that looks at it; the driver applies it
    row<Group, T, N> const* dense = nullptr; ///< target row; null unless the loss needs it

    /// Target of the class `column`, from the labels.
    ESPALIER_FN T share_of(T const& column) const {
        T const none(scalar_of<T>(0)), one(scalar_of<T>(1));
        return select(column == label, mixing, none) + select(column == partner_label, one - mixing, none);
    }
};

namespace detail {

ESPALIER_MEMBER_OR(needs_labels, needs_labels, false)
ESPALIER_MEMBER_OR(needs_dense_target, needs_dense_target, false)
ESPALIER_MEMBER_OR(skips_missing_targets, skips_missing_targets, false)
ESPALIER_MEMBER_OR(per_sample_state, per_sample_state, false)
} // namespace detail

/// Whether the loss reads classes.
template <class L> inline constexpr bool needs_labels = detail::needs_labels<L>();
/// Whether it reads a row of numbers for each row of outputs.
template <class L> inline constexpr bool needs_dense_target = detail::needs_dense_target<L>();
/// Whether a target that is NaN stands for none.
template <class L> inline constexpr bool skips_missing_targets = detail::skips_missing_targets<L>();
/// Whether it keeps numbers for each sample from epoch to epoch.
template <class L> inline constexpr bool per_sample_state = detail::per_sample_state<L>();

/// Why the numbers of a loss make no sense, or null.
template <class L> constexpr char const* problem(L const& loss) {
    if constexpr (requires { loss.problem(); })
        return loss.problem();
    else
        return nullptr;
}

template <class L>
concept has_name = requires {
    L::name;
};

template <class L, class Group, class T, int N>
concept evaluates_rows = requires(L const& loss, Group const& group, row<Group, T, N> const& z,
                                  row_target<Group, T, N> const& target, row<Group, T, N>* other) {
    { loss.evaluate(group, z, target, other, other) } -> std::same_as<T>;
};

/// Whether a loss with state can be given several outputs of one row.
template <class L, class Group, class T, int N>
concept remembers_copies = requires(L const& loss, Group const& group, row<Group, T, N> const& z,
                                    row_target<Group, T, N> const& target, row<Group, T, N>& other) {
    loss.add_prediction(group, z, other);
    loss.remember(group, z, 2, other);
    { loss.judge(group, z, target, &other, z) } -> std::same_as<T>;
};

} // namespace espalier::loss
