// SPDX-License-Identifier: Apache-2.0
// host only. A stack picked by names while the program runs, from those that were compiled.
#pragma once

#include <espalier/space/space.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

template <template <class...> class Stack, class Set> struct selection {
    template <class F>
    using result = decltype(std::declval<F&>()(at<Stack, 0>(Set{}), std::declval<combination const&>()));

    template <class F, std::size_t N> static result<F> call(F& f, combination const& which) {
        return f(at<Stack, N>(Set{}), which);
    }
    template <class F, std::size_t... N>
    static result<F> pick(F& f, combination const& which, std::size_t n, std::index_sequence<N...>) {
        using function = result<F> (*)(F&, combination const&);
        static constexpr std::array<function, sizeof...(N)> all{&call<F, N>...};
        return all[n](f, which);
    }
};

} // namespace detail

/// Calls f(stack, combination), as `for_each` does, for the one combination that `words` name, and returns what f
/// returns: one branch, outside every loop. A word is "axis=option", or an option alone: those go to the axes that no
/// other word names, in their order. An option is named by its label, "bernoulli<0.2>", or by what stands before the
/// bracket where one option of the axis bears that.
///
/// Throws data_error, with the options there are, for a name that is not known or stands for several, for an axis
/// without a word or with two; and for a combination that is not in the set, with the reason why it was left out.
template <template <class...> class Stack, class Set, class F>
auto select(Set, std::vector<std::string> const& words, F&& f) {
    std::size_t const index = detail::find_combination(Set::whole::labels(), words);
    combination const which = combination_at(Set{}, index);
    std::size_t n = 0;
    while (n < Set::size && Set::index(n) != index)
        ++n;
    if (n == Set::size) detail::throw_not_in_set(which, Set::refusal(Set::whole::digits(index)), Set::size);
    return detail::selection<Stack, Set>::pick(f, which, n, std::make_index_sequence<Set::size>{});
}

} // namespace espalier
