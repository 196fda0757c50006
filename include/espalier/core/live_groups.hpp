// SPDX-License-Identifier: Apache-2.0
// One launch for several experts of one type.
#pragma once

#include <espalier/core/live_window.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier {

/// What a launch does for each of `groups` equal things, the experts of a mixture: on a window of rows of its own in
/// views that all of them share, and with tensors that lie equally far from one to the next. A launch is given what
/// belongs to group 0. One group without a count is an ordinary launch.
struct live_groups {
    std::int32_t const* count = nullptr; ///< rows of group 0, then those of the others; null: as many as the views have
    std::int32_t const* first = nullptr; ///< likewise where their rows begin; null: at 0
    index_t apart = 0;                   ///< rows from one group's to the next, if the host knows; *first says so too
    int groups = 1;
    index_t most_rows = 0;  ///< the most that all groups have together; one group alone need not say
    index_t parameters = 0; ///< elements of the parameter arena from one group to the next
    index_t mask_words = 0; ///< the same in the mask arena
    index_t fixed = 0;      ///< the same among the fixed tensors
    index_t state = 0;      ///< the same in the other state
    int terms = 0;          ///< the same among the terms of the loss
    int streams = 0;        ///< the same among the streams of random bits

    /// Whether a view's rows are not simply all of them.
    constexpr explicit operator bool() const { return count != nullptr || first != nullptr || groups > 1; }

    /// Blocks for each group where `at_once` run together. What a group has to do is known to the device only, and the
    /// blocks of one with little end at once: of several groups there are more blocks, and those behind take their
    /// place.
    constexpr index_t blocks_each(index_t at_once) const {
        return groups == 1 ? at_once : (oversubscription * at_once + groups - 1) / groups;
    }
    static constexpr index_t oversubscription = 4;

    ESPALIER_FN constexpr live_window window(int group) const {
        return {count ? count + group : nullptr, first ? first + group : nullptr};
    }
    /// A tensor of `group`, from that of group 0; null stays null.
    template <class W> ESPALIER_FN constexpr W* tensor(W* of_first, int group) const {
        return of_first ? of_first + group * parameters : of_first;
    }
    template <class W> ESPALIER_FN constexpr matrix_view<W> tensor(matrix_view<W> of_first, int group) const {
        of_first.data = tensor(of_first.data, group);
        return of_first;
    }
    /// The same of what lies in the state arena.
    template <class W> ESPALIER_FN constexpr W* of_state(W* of_first, int group) const {
        return of_first ? of_first + group * state : of_first;
    }
    /// The rows of `group` where the host knows how far apart the groups' rows lie.
    template <class T> constexpr matrix_view<T> block(matrix_view<T> of_first, int group) const {
        of_first.data += group * apart * of_first.stride;
        return of_first;
    }
    ESPALIER_FN constexpr double* term(double* of_first, int group) const {
        return of_first ? of_first + group * terms : of_first;
    }
    ESPALIER_FN constexpr random_site site(random_site const& of_first, int group) const {
        return later_stream(of_first, static_cast<std::uint64_t>(group) * static_cast<std::uint64_t>(streams));
    }
};

} // namespace espalier
