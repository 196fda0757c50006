// SPDX-License-Identifier: Apache-2.0
// The cells of NASNet-A as tables, and where they stand in a stack.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/schedule/drop_path.hpp>

#include <cstddef>
#include <cstdint>

/// The searched cells of Zoph et al. 2018, "Learning transferable architectures for scalable image recognition", in the
/// form of the authors' code: what reads what, as data. A program that has the operations builds cells from it; the
/// rates of ScheduledDropPath follow from where a cell stands.
namespace espalier::nasnet {

/// What is done with a state before two of them are added. The separable ones are (ReLU, depthwise, pointwise,
/// normalisation) twice.
enum class operation : std::uint8_t {
    identity,
    separable_3x3,
    separable_5x5,
    separable_7x7,
    average_3x3,
    max_3x3,
};

/// Whether ScheduledDropPath drops what comes out: everything but the plain identity.
constexpr bool drops_path(operation o) {
    return o != operation::identity;
}

/// One new state: first(h[first_input]) + second(h[second_input]).
struct combination {
    operation first;
    int first_input;
    operation second;
    int second_input;
};

/// A cell. h[0] is the projection of its input, h[1] that of the input of the cell before, both with F columns or
/// channels; combination i makes h[2 + i] from states before it.
struct cell_table {
    static constexpr int combinations = 5;
    static constexpr int states = 2 + combinations;

    combination of[std::size_t{combinations}];
    /// States that are left out of the output, which is the others side by side. That a state is an input of another
    /// one does not say so: of the normal cell h[1] is both.
    bool used[std::size_t{states}];
    int stride; ///< of the operations on h[0] and h[1]

    /// How many states the output has.
    constexpr int concatenated() const {
        int count = 0;
        for (bool const inside : used)
            count += int{!inside};
        return count;
    }
    /// Columns or channels of the output.
    constexpr int width(int filters) const { return concatenated() * filters; }

    /// Whether h[state] is an input of some combination.
    constexpr bool reads(int state) const {
        for (combination const& c : of)
            if (c.first_input == state || c.second_input == state) return true;
        return false;
    }
    /// The first combination with an input that is no state before its own; -1: there is none.
    constexpr int first_ahead() const {
        for (int i = 0; i < combinations; ++i)
            for (int const input : {of[i].first_input, of[i].second_input})
                if (input < 0 || input >= 2 + i) return i;
        return -1;
    }
    /// The first state that is left out of the output and read by nobody; -1: there is none.
    constexpr int first_lost() const {
        for (int s = 0; s < states; ++s)
            if (used[s] && !reads(s)) return s;
        return -1;
    }
};

/// True for a cell that can be run, or stops compilation with a sentence.
template <cell_table Table> consteval bool check_cell() {
    constexpr int ahead = Table.first_ahead(), lost = Table.first_lost();
    static_assert(diagnostic::holds<(ahead < 0), diagnostic::given<ahead>>,
                  "espalier: a combination of a cell reads a state that is not there yet: combination i makes state 2 "
                  "+ i from states 0 to 1 + i; the next line names the combination, counted from 0");
    static_assert(diagnostic::holds<(lost < 0), diagnostic::given<lost>>,
                  "espalier: a state of a cell is lost: it is `used`, so that it is no part of the output, and no "
                  "combination reads it; the next line names the state, counted from 0");
    static_assert(
        diagnostic::holds<(Table.concatenated() > 0), diagnostic::given<Table.concatenated()>, diagnostic::needed<1>>,
        "espalier: all states of a cell are `used`, and those that are not make its output; leave one out");
    static_assert(diagnostic::holds<(Table.stride >= 1), diagnostic::given<Table.stride>, diagnostic::needed<1>>,
                  "espalier: the stride of a cell is at least 1; the next line names the one given");
    return ahead < 0 && lost < 0 && Table.concatenated() > 0 && Table.stride >= 1;
}

/// NASNet-A's cell that keeps the extents: six states side by side.
inline constexpr cell_table normal_cell{
    .of = {{operation::separable_5x5, 0, operation::separable_3x3, 1},
           {operation::separable_5x5, 1, operation::separable_3x3, 1},
           {operation::average_3x3, 0, operation::identity, 1},
           {operation::average_3x3, 1, operation::average_3x3, 1},
           {operation::separable_3x3, 0, operation::identity, 0}},
    .used = {true, false, false, false, false, false, false},
    .stride = 1,
};
/// The one that halves them: four states.
inline constexpr cell_table reduction_cell{
    .of = {{operation::separable_5x5, 0, operation::separable_7x7, 1},
           {operation::max_3x3, 0, operation::separable_7x7, 1},
           {operation::average_3x3, 0, operation::separable_5x5, 1},
           {operation::identity, 3, operation::average_3x3, 2},
           {operation::separable_3x3, 2, operation::max_3x3, 0}},
    .used = {true, true, true, false, false, false, false},
    .stride = 2,
};

/// A stack: stem cells, then normal cells with reductions between them, which cut them into equal parts.
struct stacking {
    int cells;          ///< normal ones
    int reductions = 2; ///< each doubles the filters
    int stems = 0;      ///< 2 before images of ImageNet's size, which are reductions themselves

    /// All cells: the `cells` of schedule::drop_path.
    constexpr int count() const { return stems + cells + reductions; }
    /// The normal cell, counted from 0, in front of which reduction i = 0, 1, ... stands.
    constexpr int place_of_reduction(int i) const { return (i + 1) * cells / (reductions + 1); }
    /// Reductions in front of normal cell n.
    constexpr int reductions_before(int n) const {
        int before = 0;
        while (before < reductions && place_of_reduction(before) <= n)
            ++before;
        return before;
    }
    /// Numbers of cells over the whole stack, from 0 with the first stem: the `cell` of schedule::drop_path.
    constexpr int depth_of_cell(int n) const { return stems + n + reductions_before(n); }
    constexpr int depth_of_reduction(int i) const { return stems + place_of_reduction(i) + i; }
    /// Filters of normal cell n, when the first one has so many.
    constexpr int filters_of_cell(int n, int filters) const { return filters << reductions_before(n); }

    /// The rate of a path that ScheduledDropPath drops in the cell of that depth, until `steps` steps are done.
    constexpr schedule::drop_path rate_at(int depth, double keep, std::uint64_t steps) const {
        return {.keep = keep,
                .cell = static_cast<std::uint64_t>(depth),
                .cells = static_cast<std::uint64_t>(count()),
                .steps = steps};
    }

    /// Why the numbers make no sense, or null.
    constexpr char const* problem() const {
        if (cells < 1 || reductions < 0 || stems < 0)
            return "stacking: at least one cell, and no negative number of reductions or stems";
        return cells > reductions ? nullptr : "stacking: two reductions stand at one place; take more cells";
    }
};

} // namespace espalier::nasnet
