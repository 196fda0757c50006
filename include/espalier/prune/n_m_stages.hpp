// SPDX-License-Identifier: Apache-2.0
// N of every M, where N and M change from stage to stage of a training.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/schedule/concept.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espalier::prune {

/// From time `from` on, until the next stage begins, `kept` of every `group` rows stay.
struct stage {
    std::uint64_t from = 0;
    int kept = 1;
    int group = 1;

    constexpr group_pattern pattern() const { return {kept, group}; }
    friend constexpr bool operator==(stage const&, stage const&) = default;
};

/// A list of stages, in the order of time: `stepwise`, `geometric`, `stages<...>` or a structure of your own.
///     constexpr int count() const;            // how many
///     constexpr stage at(int i) const;        // the i-th
///     schedule::time_unit unit;               // what `from` counts: steps or epochs
///     constexpr bool halves() const;          // optional: whether the list can be made of the numbers that it is
///     given
template <class L>
concept stage_list = requires(L const& list) {
    { list.count() } -> std::convertible_to<int>;
    { list.at(0) } -> std::same_as<stage>;
    { list.unit } -> std::convertible_to<schedule::time_unit>;
};

/// When stage i of n begins that share [start, start + steps): start + floor(i steps / n).
constexpr std::uint64_t stage_begin(std::uint64_t start, std::uint64_t steps, int i, int n) {
    auto const at = static_cast<std::uint64_t>(i), all = static_cast<std::uint64_t>(n);
    return start + steps / all * at + steps % all * at / all;
}

/// A list by hand: stages<stage{0, 8, 64}, stage{100, 4, 32}>.
template <stage... Stages> struct stages {
    schedule::time_unit unit = schedule::time_unit::step;

    static constexpr int count() { return static_cast<int>(sizeof...(Stages)); }
    static constexpr stage at(int i) {
        std::array<stage, sizeof...(Stages)> const all{Stages...};
        return all[static_cast<std::size_t>(i)];
    }
};

/// Groups of one size of which less and less stays: M - 1 of M at first, then M / 2, M / 4, ..., N of M, in
/// log2(M / N) + 1 stages of `steps` in all, the first from `start` on. M / N is a power of two above 1. ("sparsify",
/// Bambhaniya et al. 2024.)
struct stepwise {
    int kept = 1;
    int group = 2;
    std::uint64_t start = 0;
    std::uint64_t steps = 0;
    schedule::time_unit unit = schedule::time_unit::step;

    constexpr bool halves() const {
        if (kept < 1 || group <= kept || group % kept != 0) return false;
        int const ratio = group / kept;
        return (ratio & (ratio - 1)) == 0;
    }
    constexpr int count() const {
        int n = 1;
        while (kept >= 1 && kept << n <= group)
            ++n;
        return n;
    }
    constexpr stage at(int i) const {
        return {stage_begin(start, steps, i, count()), i == 0 ? group - 1 : group >> i, group};
    }
};

/// Groups that become smaller, of which the same share stays: of `count` stages the i-th has
/// N 2^(count - 1 - i) : M 2^(count - 1 - i), so that weights are compared with fewer and fewer. The stages last
/// `steps` in all, the first from `start` on. ("fine", Bambhaniya et al. 2024, with 4 stages.)
struct geometric {
    int kept = 1;
    int group = 2;
    std::uint64_t start = 0;
    std::uint64_t steps = 0;
    int stages = 4;
    schedule::time_unit unit = schedule::time_unit::step;

    constexpr int count() const { return stages; }
    constexpr stage at(int i) const {
        int const factor = stages - 1 - i < 9 ? 1 << (stages - 1 - i) : group_pattern::largest_group + 1;
        return {stage_begin(start, steps, i, stages), kept * factor, group * factor};
    }
};

namespace detail {

template <auto Stages> struct stages_of {
    static constexpr int count = Stages.count();

    static consteval bool begin_in_order() {
        for (int i = 1; i < count; ++i)
            if (Stages.at(i).from <= Stages.at(i - 1).from) return false;
        return true;
    }
    static consteval bool possible() {
        for (int i = 0; i < count; ++i)
            if (!Stages.at(i).pattern().possible()) return false;
        return count > 0;
    }
    static consteval bool halves() {
        if constexpr (requires { Stages.halves(); })
            return Stages.halves();
        else
            return true;
    }

    /// "7:8 from 0, 4:8 from 25", of epochs "7:8 from epoch 0, 4:8 from epoch 25"; its length where there is no `to`.
    static constexpr std::size_t write(char* to) {
        std::size_t n = 0;
        auto const put = [&](char c) {
            if (to) to[n] = c;
            ++n;
        };
        auto const words = [&](std::string_view text) {
            for (char const c : text)
                put(c);
        };
        for (int i = 0; i < count; ++i) {
            stage const one = Stages.at(i);
            if (i > 0) words(", ");
            put_number(static_cast<std::uint64_t>(one.kept), put);
            put(':');
            put_number(static_cast<std::uint64_t>(one.group), put);
            words(Stages.unit == schedule::time_unit::epoch ? " from epoch " : " from ");
            put_number(one.from, put);
        }
        return n;
    }
    static consteval auto text() {
        std::array<char, write(nullptr)> made{};
        write(made.data());
        return made;
    }
};

template <auto Stages> inline constexpr auto stages_text = stages_of<Stages>::text();

} // namespace detail

/// n_m with the pattern of the stage that it is (structure decay: Bambhaniya et al. 2024, "Progressive gradient flow
/// for robust N:M sparsity training in transformers"). Before the first stage everything is kept. Masks are selected
/// anew when a stage begins and, within it, as the schedule says; while that gives 0 everything is kept. What a stage
/// leaves out may come back in a later one where the rule lets it learn (`straight_through`, `decayed`); a stage that
/// leaves out less than the one before it brings weights back. In a layer every group of every stage divides the
/// inputs. Stages: see `stage_list`; n_m_stages<stepwise{.kept = 1, .group = 16, .start = 100, .steps = 5000}>.
template <auto Stages> struct n_m_stages {
    static_assert(diagnostic::holds<stage_list<decltype(Stages)>, diagnostic::given_type<decltype(Stages)>>,
                  "espalier: prune::n_m_stages needs a list of stages: prune::stepwise, prune::geometric, "
                  "prune::stages<...>{} or a structure with `count()`, `at(int)` and `unit`");
    static_assert(
        diagnostic::holds<detail::stages_of<Stages>::halves(), diagnostic::given<Stages>>,
        "espalier: prune::stepwise halves what stays until it is N of M, so it needs M / N to be a power of two "
        "and at least 2; the next lines name the numbers; write another pattern as prune::stages<...>");
    static_assert(diagnostic::holds<detail::stages_of<Stages>::possible(), diagnostic::given<Stages>>,
                  "espalier: prune::n_m_stages needs at least one stage and 1 <= N <= M <= 256 in every one; "
                  "prune::geometric begins with 2^(stages - 1) times its N and M");
    static_assert(
        diagnostic::holds<detail::stages_of<Stages>::begin_in_order(), diagnostic::given<Stages>>,
        "espalier: the stages of prune::n_m_stages begin one after the other: each needs a later `from` than the "
        "one before it, and prune::stepwise and prune::geometric as many `steps` as stages");
    static_assert(diagnostic::holds<Stages.unit != schedule::time_unit::update, diagnostic::given<Stages>>,
                  "espalier: the stages of prune::n_m_stages are counted in steps or epochs");
    static constexpr std::string_view name{detail::stages_text<Stages>.data(), detail::stages_text<Stages>.size()};
    static constexpr bool global = false;

    /// The pattern of the moment; 1:1 before the first stage.
    static constexpr group_pattern at(clock const& now) {
        int const i = number(now);
        return i < 0 ? group_pattern{1, 1} : Stages.at(i).pattern();
    }
    /// Whether a stage begins with this step.
    static constexpr bool due(clock const& now) {
        int const i = number(now);
        if (i < 0 || schedule::time_of(now, Stages.unit) != Stages.at(i).from) return false;
        return Stages.unit != schedule::time_unit::epoch || now.step == now.epoch_begin;
    }
    /// The first group that so many inputs are not whole ones of; 0: there is none.
    static constexpr int group_beside(index_t inputs) {
        for (int i = 0; i < Stages.count(); ++i)
            if (inputs % Stages.at(i).group != 0) return Stages.at(i).group;
        return 0;
    }

private:
    /// Of the stage of the moment; -1 before the first.
    static constexpr int number(clock const& now) {
        std::uint64_t const t = schedule::time_of(now, Stages.unit);
        int i = Stages.count() - 1;
        while (i >= 0 && Stages.at(i).from > t)
            --i;
        return i;
    }
};

} // namespace espalier::prune
