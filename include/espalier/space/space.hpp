// SPDX-License-Identifier: Apache-2.0
// host only. Spaces of specialisations: every combination of choices is a type, and only those that are used are made.
//
//     namespace hana = boost::hana;
//     constexpr auto all = esp::space(
//         esp::choices<"activation">(hana::tuple_t<esp::activation::relu, esp::activation::silu>),
//         esp::choices<"dropout">(hana::tuple_t<esp::dropout::none, esp::dropout::bernoulli<0.2>>),
//         esp::choices<"width">(hana::tuple_c<int, 64, 128>));
//     template <class A, class D, class W>
//     using stack = esp::sequence<esp::input<64>, esp::dense<W::value, A, D>, esp::dense<10>>;
//
//     esp::for_each<stack>(esp::pairwise(all), [](auto net, esp::combination const& which) {
//         using stack_type = typename decltype(net)::type;
//     });
//
// A combination is a number: its digits, the last axis the fastest, are the options. Sets of combinations are lists of
// such numbers, worked out while compiling without a type for any of them.
#pragma once

#include <espalier/space/choices.hpp>

#include <boost/hana/type.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

/// What a predicate asks that a space cannot answer.
enum class predicate_problem : std::uint8_t { none, axis, name, number };

inline constexpr choice_option no_option{};

} // namespace detail

/// A combination as a predicate sees it while compiling.
template <class Space> class candidate {
public:
    constexpr candidate(typename Space::digits_type const& digits, detail::predicate_problem& problem)
        : digits_(&digits), problem_(&problem) {}

    /// Whether the option of that axis has that name. Compilation stops at an axis, and at a name, that is not there.
    constexpr bool is(std::string_view axis, std::string_view name) const {
        if (at(axis).name == name) return true;
        std::size_t const a = Space::axis_named(axis);
        if (a == Space::axis_count) return false;
        for (std::size_t o = 0; o < Space::sizes[a]; ++o)
            if (Space::option(a, o).name == name) return false;
        *problem_ = detail::predicate_problem::name;
        return false;
    }
    /// The number of that axis. Compilation stops at an option that is none.
    constexpr long long value(std::string_view axis) const {
        choice_option const& option = at(axis);
        if (!option.number && *problem_ == detail::predicate_problem::none)
            *problem_ = detail::predicate_problem::number;
        return option.value;
    }
    constexpr choice_option const& at(std::string_view axis) const {
        std::size_t const found = Space::axis_named(axis);
        if (found < Space::axis_count) return Space::option(found, digits_->at[found]);
        *problem_ = detail::predicate_problem::axis;
        return detail::no_option;
    }

private:
    typename Space::digits_type const* digits_;
    detail::predicate_problem* problem_;
};

/// All combinations of the axes. `space` makes it.
template <class... Axes> struct choice_space {
    static_assert(sizeof...(Axes) > 0, "espalier: a space has no axis; give it esp::choices<NAME>(...)");

    using whole = choice_space;
    static constexpr std::size_t axis_count = sizeof...(Axes);
    /// The option of each axis. Arrays of the language here and below: what a constant costs is mostly calls, and
    /// std::array has one for each element.
    struct digits_type {
        std::size_t at[axis_count];
    };
    static constexpr std::size_t sizes[axis_count]{Axes::size...};
    static constexpr std::size_t size = (std::size_t{1} * ... * Axes::size);
    static constexpr choice_name names[axis_count]{Axes::name...};

    /// The place of an axis; axis_count when there is none of that name.
    static constexpr std::size_t axis_named(std::string_view name) {
        short_name const text = name.size() <= 16 ? detail::name_from(name.data(), name.size()) : short_name{};
        std::size_t found = 0;
        while (found < axis_count && !(names[found].text == text))
            ++found;
        return found;
    }
    static constexpr choice_option const& option(std::size_t axis, std::size_t digit) {
        choice_option const* const first[] = {Axes::options.data()...};
        return first[axis][digit];
    }
    static constexpr digits_type digits(std::size_t index) {
        digits_type d{};
        for (std::size_t a = axis_count; a-- > 0; index /= sizes[a])
            d.at[a] = index % sizes[a];
        return d;
    }
    /// The n-th combination of this set.
    static constexpr std::size_t index(std::size_t n) { return n; }
    /// Why a combination is left out; null: it is not.
    static constexpr char const* refusal(digits_type const&) { return nullptr; }

    /// The stack of a combination.
    template <template <class...> class Stack, std::size_t Index> struct stack_of {
        static constexpr digits_type digits = choice_space::digits(Index);
        template <std::size_t... A> static auto make(std::index_sequence<A...>) {
            static_assert(
                requires { typename Stack<typename Axes::template type<digits.at[A]>...>; },
                "espalier: the stack of a space cannot be written with these options: it has a parameter for each "
                "axis, in the order of the axes, and sees a number as a type with a member `value`");
            return boost::hana::type_c<Stack<typename Axes::template type<digits.at[A]>...>>;
        }
        using type = typename decltype(make(std::make_index_sequence<axis_count>{}))::type;
    };

    /// The labels of the options of each axis.
    static std::vector<axis_labels> const& labels() {
        static std::vector<axis_labels> const all{detail::label_axis(Axes::name.text, Axes::labels())...};
        return all;
    }
};

namespace detail {

template <class... Axes> consteval bool names_differ() {
    choice_name const names[]{Axes::name...};
    for (std::size_t a = 0; a < sizeof...(Axes); ++a)
        for (std::size_t b = 0; b < a; ++b)
            if (names[a].text == names[b].text) return false;
    return true;
}

/// Numbers of combinations.
template <std::size_t N> struct index_list { std::size_t at[N > 0 ? N : 1]; };

/// What a predicate says of a combination: bool, or the reason why it is left out.
constexpr char const* refusal_of(bool in) {
    return in ? nullptr : "the predicate says no";
}
constexpr char const* refusal_of(char const* reason) {
    return reason;
}

template <class Set> using digits_of = typename Set::whole::digits_type;

} // namespace detail

/// A set of combinations of a space, whose numbers in rising order `List::list()` gives while compiling.
template <class Whole, class List, class Refusal> struct choice_subset {
    using whole = Whole;
    static constexpr std::size_t size = List::size;
    static constexpr detail::index_list<size> indices = List::list();

    static constexpr std::size_t index(std::size_t n) { return indices.at[n]; }
    static constexpr char const* refusal(typename Whole::digits_type const& d) { return Refusal{}(d); }
};

/// The space of all combinations of these axes, each of `choices<NAME>(...)`.
template <class... Axes> constexpr choice_space<Axes...> space(Axes...) {
    static_assert(detail::names_differ<Axes...>(),
                  "espalier: two axes of a space have the same name; rename one of them");
    return {};
}

namespace detail {

template <class Set, class Predicate> struct refusal_with {
    constexpr char const* operator()(digits_of<Set> const& d) const {
        predicate_problem none{};
        char const* const before = Set::refusal(d);
        return before ? before : of_predicate(d, none);
    }
    static constexpr char const* of_predicate(digits_of<Set> const& d, predicate_problem& problem) {
        return refusal_of(Predicate{}(candidate<typename Set::whole>(d, problem)));
    }
};

/// Which of some combinations of a set are kept. In parts, for Clang bounds the steps of one constant.
inline constexpr std::size_t part_size = 128;
struct kept_flags {
    bool at[part_size];
    predicate_problem problem;
};
// Functions and no lambdas: of names in a lambda GCC's -Wshadow says that they shadow those of the program.
template <class Set, class Predicate, std::size_t Part> consteval kept_flags keep_part() {
    kept_flags kept{};
    for (std::size_t i = 0, n = Part * part_size; i < part_size && n < Set::size; ++i, ++n)
        kept.at[i] =
            refusal_with<Set, Predicate>::of_predicate(Set::whole::digits(Set::index(n)), kept.problem) == nullptr;
    return kept;
}
template <class Set, class Predicate, std::size_t Part>
inline constexpr kept_flags kept_part = keep_part<Set, Predicate, Part>();

template <std::size_t Parts> consteval std::size_t count_kept(kept_flags const (&parts)[Parts]) {
    std::size_t sum = 0;
    for (kept_flags const& part : parts)
        for (bool const one : part.at)
            sum += one;
    return sum;
}

template <std::size_t Parts> consteval predicate_problem first_problem(kept_flags const (&parts)[Parts]) {
    for (kept_flags const& part : parts)
        if (part.problem != predicate_problem::none) return part.problem;
    return predicate_problem::none;
}

template <class Set, class Predicate> struct list_where {
    static constexpr std::size_t parts = (Set::size + part_size - 1) / part_size;
    struct all_flags {
        kept_flags at[parts];
    };
    static constexpr all_flags kept = []<std::size_t... Part>(std::index_sequence<Part...>) {
        return all_flags{{kept_part<Set, Predicate, Part>...}};
    }
    (std::make_index_sequence<parts>{});
    static constexpr std::size_t size = count_kept(kept.at);
    static constexpr predicate_problem problem = first_problem(kept.at);

    static consteval auto list() {
        index_list<size> indices{};
        std::size_t count = 0;
        for (std::size_t n = 0; n < Set::size; ++n)
            if (kept.at[n / part_size].at[n % part_size]) indices.at[count++] = Set::index(n);
        return indices;
    }
};

/// The refusal of the set that it is taken from: what `sample` and `pairwise` leave out is not refused.
template <class Set> struct same_refusal {
    constexpr char const* operator()(digits_of<Set> const& d) const { return Set::refusal(d); }
};

/// SplitMix64 (Steele, Lea, Flood 2014): the generator of samples.
class sample_draws {
public:
    constexpr explicit sample_draws(std::uint64_t seed) : state_(seed) {}
    /// One of 0 ... n - 1.
    constexpr std::size_t below(std::size_t n) {
        state_ += 0x9e3779b97f4a7c15u;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return static_cast<std::size_t>((z ^ (z >> 31)) % n);
    }

private:
    std::uint64_t state_;
};

template <class Set, std::size_t N, std::uint64_t Seed> struct list_sample {
    static constexpr std::size_t size = N;

    /// Each set of N is as likely as another one (Floyd's method), without a table of all.
    static consteval auto list() {
        index_list<N> sorted{};
        sample_draws draws(Seed);
        std::size_t taken = 0;
        for (std::size_t last = Set::size - N; last < Set::size; ++last) {
            std::size_t const drawn = draws.below(last + 1);
            bool is_new = true;
            for (std::size_t i = 0; i < taken; ++i)
                is_new = is_new && sorted.at[i] != drawn;
            std::size_t const value = is_new ? drawn : last;
            std::size_t place = taken++;
            for (; place > 0 && sorted.at[place - 1] > value; --place)
                sorted.at[place] = sorted.at[place - 1];
            sorted.at[place] = value;
        }
        for (std::size_t& place : sorted.at)
            place = Set::index(place);
        return sorted;
    }
};

template <class Set, std::size_t First, std::size_t Of> struct list_part {
    static constexpr std::size_t size = (Set::size - First + Of - 1) / Of;

    static consteval auto list() {
        index_list<size> indices{};
        for (std::size_t n = 0; n < size; ++n)
            indices.at[n] = Set::index(First + n * Of);
        return indices;
    }
};

} // namespace detail

/// The combinations of a set that `predicate` takes. It is a lambda without captures that gets a `candidate` and
/// returns bool, or null and otherwise the reason why a combination is left out:
///
///     where(all, [](auto const& c) { return c.is("dropout", "none") && c.value("width") > 64 ? "overfits" : nullptr;
///     })
template <class Set, class Predicate> constexpr auto where(Set set, Predicate) {
    constexpr bool knows_nothing = std::is_empty_v<Predicate> && std::is_default_constructible_v<Predicate>;
    static_assert(
        knows_nothing,
        "espalier: the predicate of a space is asked while compiling; give esp::where a lambda without captures");
    if constexpr (knows_nothing) {
        using list = detail::list_where<Set, Predicate>;
        using subset = choice_subset<typename Set::whole, list, detail::refusal_with<Set, Predicate>>;
        using enum detail::predicate_problem;
        static_assert(list::problem != axis, "espalier: the predicate of a space asks for an axis that the space does "
                                             "not have; ask for one of its esp::choices<NAME>");
        static_assert(list::problem != name,
                      "espalier: the predicate of a space asks whether an option has a name that "
                      "no option of the axis has; write a name without its arguments, and ask "
                      "for numbers by value(axis)");
        static_assert(list::problem != number,
                      "espalier: the predicate of a space asks for the value of an option that "
                      "is no number; ask for its name by is(axis, name)");
        static_assert(list::problem != none || subset::size > 0,
                      "espalier: the predicate leaves no combination of the space");
        return subset{};
    } else {
        return set;
    }
}

/// N different combinations of a set, drawn by a seed.
template <std::size_t N, std::uint64_t Seed = 0, class Set> constexpr auto sample(Set) {
    static_assert(N > 0 && N <= Set::size,
                  "espalier: a sample has at least one combination and at most all of the set");
    return choice_subset<typename Set::whole, detail::list_sample<Set, N, Seed>, detail::same_refusal<Set>>{};
}

/// The part First of `Of` parts of a set, by turns: a file for each part shares out what there is to compile.
template <std::size_t First, std::size_t Of, class Set> constexpr auto part(Set) {
    static_assert(First < Of && Of <= Set::size,
                  "espalier: a set has parts 0 ... n - 1 of n, and no more parts than combinations");
    return choice_subset<typename Set::whole, detail::list_part<Set, First, Of>, detail::same_refusal<Set>>{};
}

namespace detail {

/// All options one behind the other: where those of an axis begin.
template <class Space> struct option_begins { std::size_t at[Space::axis_count + 1]; };
template <class Space> consteval option_begins<Space> begins_of_options() {
    option_begins<Space> sums{};
    for (std::size_t a = 0; a < Space::axis_count; ++a)
        sums.at[a + 1] = sums.at[a] + Space::sizes[a];
    return sums;
}

/// A covering array of strength 2, row by row: a pair that no row has yet, then for each further axis the option that
/// brings most new pairs (as AETG does: Cohen, Dalal, Fredman, Patton 1997). Where that is not in the set, the next
/// completion of the pair that is.
template <class Set> class pairwise_rows {
    using whole = typename Set::whole;
    static constexpr std::size_t axes = whole::axis_count;
    static constexpr bool all_in = std::is_same_v<Set, whole>;

    static constexpr option_begins<whole> first = begins_of_options<whole>();
    static constexpr std::size_t options = first.at[axes];
    struct row {
        std::size_t at[axes]; ///< options
    };

public:
    /// No array has more rows than the pairs of its options.
    std::size_t rows[options * options] = {};
    std::size_t count = 0;

    constexpr pairwise_rows() {
        if constexpr (!all_in)
            for (std::size_t n = 0; n < Set::size; ++n)
                in_[Set::index(n)] = true;
        while (add_row()) {
        }
        std::sort(rows, rows + count);
    }

private:
    // No functions below add_row and complete: GCC keeps the result of every call that it evaluates.
    bool seen_[options][options] = {};
    bool in_[all_in ? 1 : whole::size] = {};

    /// The best row that begins with one of the first pairs that are left. False: none is.
    constexpr bool add_row() {
        row best{};
        std::size_t best_fresh = 0;
        int begun = 0;
        for (std::size_t a = 0; a < axes && begun < 4; ++a)
            for (std::size_t b = a + 1; b < axes && begun < 4; ++b)
                for (std::size_t x = first.at[a]; x < first.at[a + 1] && begun < 4; ++x)
                    for (std::size_t y = first.at[b]; y < first.at[b + 1] && begun < 4; ++y) {
                        if (seen_[x][y]) continue;
                        row candidate{};
                        candidate.at[a] = x;
                        candidate.at[b] = y;
                        std::size_t const fresh = complete(candidate, a, b);
                        if (fresh == 0) {
                            seen_[x][y] = seen_[y][x] = true; // no combination of the set has this pair
                            continue;
                        }
                        if (fresh > best_fresh) {
                            best = candidate;
                            best_fresh = fresh;
                        }
                        ++begun;
                    }
        if (best_fresh == 0) return false;
        std::size_t index = 0;
        for (std::size_t c = 0; c < axes; ++c) {
            index = index * whole::sizes[c] + best.at[c] - first.at[c];
            for (std::size_t e = 0; e < axes; ++e)
                seen_[best.at[c]][best.at[e]] = true;
        }
        rows[count++] = index;
        return true;
    }

    /// Fills the axes of a row but a and b, and counts the new pairs that it has: none if no combination of the set has
    /// the pair of a and b.
    constexpr std::size_t complete(row& out, std::size_t a, std::size_t b) const {
        bool set[axes] = {};
        set[a] = set[b] = true;
        for (std::size_t free = 2; free < axes; ++free) {
            std::size_t best_axis = axes, best_option = 0, best_fresh = 0;
            for (std::size_t c = 0; c < axes; ++c) {
                if (set[c]) continue;
                for (std::size_t x = first.at[c]; x < first.at[c + 1]; ++x) {
                    std::size_t fresh = 0;
                    for (std::size_t e = 0; e < axes; ++e)
                        if (set[e]) fresh += !seen_[x][out.at[e]];
                    if (best_axis < axes && fresh <= best_fresh) continue;
                    best_axis = c;
                    best_option = x;
                    best_fresh = fresh;
                }
            }
            out.at[best_axis] = best_option;
            set[best_axis] = true;
        }
        if constexpr (!all_in) {
            row const begin = out;
            for (;;) {
                std::size_t index = 0;
                for (std::size_t c = 0; c < axes; ++c)
                    index = index * whole::sizes[c] + out.at[c] - first.at[c];
                if (in_[index]) break;
                std::size_t c = axes; // the next completion: the last axis the fastest
                for (; c > 0; --c) {
                    if (c - 1 == a || c - 1 == b) continue;
                    if (++out.at[c - 1] == first.at[c]) out.at[c - 1] = first.at[c - 1];
                    if (out.at[c - 1] != begin.at[c - 1]) break;
                }
                if (c == 0) return 0; // every axis is where it began
            }
        }
        std::size_t fresh = 0;
        for (std::size_t c = 0; c < axes; ++c)
            for (std::size_t e = c + 1; e < axes; ++e)
                fresh += !seen_[out.at[c]][out.at[e]];
        return fresh;
    }
};

template <class Set> struct list_pairwise {
    static_assert(Set::whole::axis_count > 1, "espalier: a space of one axis has no pairs; use the space itself");

    static constexpr pairwise_rows<Set> all{};
    static constexpr std::size_t size = all.count;

    static consteval auto list() {
        index_list<size> indices{};
        for (std::size_t n = 0; n < size; ++n)
            indices.at[n] = all.rows[n];
        return indices;
    }
};

} // namespace detail

/// Combinations of a set in which every two options of different axes occur together, if they do so in the set: near
/// the fewest that do (a covering array of strength 2, by a greedy method: 9 for four axes of 3 options, which is the
/// least, 41 for three of 6, where 36 are, and 120 for four of 10, where 100 would be).
template <class Set> constexpr auto pairwise(Set) {
    return choice_subset<typename Set::whole, detail::list_pairwise<Set>, detail::same_refusal<Set>>{};
}

/// The names of a combination by its number in the space.
template <class Set> combination combination_at(Set, std::size_t index) {
    return detail::combination_of(Set::whole::labels(), index);
}

/// The n-th stack of a set, as a `hana::type`, whose member `type` is the stack's.
template <template <class...> class Stack, std::size_t N, class Set> constexpr auto at(Set) {
    static_assert(N < Set::size, "espalier: esp::at asks for a combination behind the last one of the set");
    return boost::hana::type_c<typename Set::whole::template stack_of<Stack, Set::index(N)>::type>;
}

/// Calls f(stack, combination) for every combination of the set, in order: the stack is a `hana::type`, whose member
/// `type` is the stack's.
template <template <class...> class Stack, class Set, class F> void for_each(Set set, F&& f) {
    [&]<std::size_t... N>(std::index_sequence<N...>) {
        (f(at<Stack, N>(set), combination_at(set, Set::index(N))), ...);
    }
    (std::make_index_sequence<Set::size>{});
}

} // namespace espalier
