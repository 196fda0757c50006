// SPDX-License-Identifier: Apache-2.0
// host only. An optimizer for each parameter group or role, chosen for every tensor while the program compiles.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/core/text.hpp>
#include <espalier/optimizer/concept.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace espalier::optimizer {

namespace detail {

template <class Text, class Places> struct named_by;
template <class Text, std::size_t... At> struct named_by<Text, std::index_sequence<At...>> {
    using type = diagnostic::group_named<Text::view[At]...>;
};
/// The name of a group as compilers can print it; `Text::view` is the name.
template <class Text> using printed_group = typename named_by<Text, std::make_index_sequence<Text::view.size()>>::type;

// What an entry is for: the tensors that it matches, its words in a message and in one of the compiler.

template <short_name Name> struct for_group {
    using text = espalier::detail::short_name_text<Name>;
    using fact = printed_group<text>;
    static constexpr bool takes_all = false;
    static constexpr bool matches(role, std::string_view group) { return group == text::view; }
    static std::string words() { return espalier::detail::text_of("group ", text::view); }
};
template <role Role> struct for_role {
    using fact = diagnostic::given<Role>;
    static constexpr bool takes_all = false;
    static constexpr bool matches(role r, std::string_view) { return r == Role; }
    static std::string words() { return espalier::detail::text_of("role ", role_name(Role)); }
};
struct for_rest {
    using fact = for_rest;
    static constexpr bool takes_all = true;
    static constexpr bool matches(role, std::string_view) { return true; }
    static std::string words() { return "the rest"; }
};

/// An optimizer and the tensors that it is for.
template <class Tensors, class Optimizer> struct entry {
    using tensors = Tensors;
    static constexpr bool is_optimizer = has_validate<Optimizer> && gives_step_op<Optimizer>;
    static_assert(diagnostic::holds<is_optimizer, typename Tensors::fact, diagnostic::given_type<Optimizer>>,
                  "espalier: an entry of optimizer::by_group is given no optimizer; the next lines name its group or "
                  "role and the type; write esp::optimizer::of<\"head\"_name>(esp::optimizer::sgd{.learning_rate = "
                  "0.1}); esp::check_optimizer says what one of your own lacks");

    Optimizer its;
};

template <class E> inline constexpr bool is_entry = false;
template <class Tensors, class Optimizer> inline constexpr bool is_entry<entry<Tensors, Optimizer>> = true;

template <class First, class... Others> consteval bool check_once() {
    constexpr bool once = !(std::same_as<typename First::tensors, typename Others::tensors> || ...);
    static_assert(diagnostic::holds<once, typename First::tensors::fact>,
                  "espalier: optimizer::by_group has two entries for one group or role, which the next lines name; the "
                  "first one would take all its tensors: leave the other one out");
    if constexpr (once && sizeof...(Others) > 0)
        return check_once<Others...>();
    else
        return once;
}

template <class... Entries> consteval bool check_entries() {
    constexpr bool all = (is_entry<Entries> && ...) && sizeof...(Entries) > 0;
    static_assert(diagnostic::holds<all, diagnostic::given_policies<Entries...>>,
                  "espalier: optimizer::by_group takes esp::optimizer::of<\"head\"_name>(optimizer), "
                  "esp::optimizer::of<esp::role::bias>(optimizer) and last esp::optimizer::rest(optimizer); the next "
                  "lines name what was given");
    if constexpr (all) {
        if constexpr ((Entries::is_optimizer && ...) && check_once<Entries...>()) {
            constexpr bool last = [] {
                std::size_t behind = sizeof...(Entries);
                return (... && (--behind == 0 || !Entries::tensors::takes_all));
            }();
            static_assert(diagnostic::holds<last, diagnostic::given_policies<Entries...>>,
                          "espalier: optimizer::rest takes every tensor, and entries of optimizer::by_group behind it "
                          "would have none: let it be the last one");
            return last;
        }
    }
    return false;
}

/// In the place of ops that do not go together: the sentence was said.
struct no_op {
    static constexpr int moments = 0;
    static double rate() { return 0.0; }
    template <class T> T step(T w, T, T*, T, T) const { return w; }
};

template <class Tensors, class All> consteval bool check_has() {
    constexpr bool there = Tensors::takes_all || All::template has<Tensors>();
    static_assert(
        diagnostic::holds<there, typename Tensors::fact>,
        "espalier: an entry of optimizer::by_group is for a group or role that no trained tensor of the network "
        "has; the next lines name it: put in_group<\"head\"_name> into the list of a layer, spell the group as "
        "the layer does, or leave the entry out");
    return there;
}

/// The ops of one step, in the order of the entries. A pass over a tensor gets the one that is the tensor's and knows
/// nothing of the others.
template <class Entries, class... Ops> struct ops_by_group;
template <class... Tensors, class... Ops> struct ops_by_group<type_list<Tensors...>, Ops...> {
    using choices = type_list<Ops...>;
    static constexpr std::size_t count = sizeof...(Ops);
    static constexpr int moments = std::max({int{Ops::moments}...});
    static constexpr bool counts_updates = (optimizer::counts_updates<Ops>() || ...);

    flat_tuple<Ops...> all;

    /// The entry that a tensor takes: the first that matches, or `count`.
    static constexpr std::size_t place(role r, std::string_view group) {
        std::size_t at = 0;
        static_cast<void>((... || (Tensors::matches(r, group) || (++at, false))));
        return at;
    }
    static constexpr int moments_of(role r, std::string_view group) {
        constexpr int of_place[] = {int{Ops::moments}..., 0};
        return of_place[place(r, group)];
    }
    /// Stops compilation where an entry is for no tensor of the network: `All::template has<Tensors>()`.
    template <class All> static consteval bool check_tensors() { return (check_has<Tensors, All>() && ...); }
    /// Throws data_error when an entry other than the rest is for no tensor of the network's.
    template <class Infos> static void require_tensors(Infos const& infos) {
        bool taken[count + 1] = {Tensors::takes_all..., true};
        std::string groups;
        for (auto const& t : infos) {
            if (!t.trained) continue;
            taken[place(t.tensor_role, t.group)] = true;
            if (std::string const own = "'" + std::string(t.group) + "'"; groups.find(own) == std::string::npos)
                espalier::detail::add_to_list(groups, own);
        }
        std::size_t const at = static_cast<std::size_t>(std::find(taken, taken + count, false) - taken);
        std::string const words[] = {Tensors::words()..., ""};
        if (at < count)
            espalier::detail::throw_data_error(
                "optimizer::by_group: no tensor takes the entry for ", words[at],
                ": none is of it, or entries before it take them all; groups of the network's tensors are ", groups);
    }

    /// That of the last entry: of the rest.
    double rate() const { return get<count - 1>(all).rate(); }

    template <class Tensor> constexpr auto const& of() const {
        constexpr std::size_t found = place(Tensor::tensor_role, Tensor::view);
        static_assert(diagnostic::holds<(found < count), diagnostic::given<Tensor::tensor_role>, printed_group<Tensor>>,
                      "espalier: no entry of optimizer::by_group is for this tensor; the next lines name its role and "
                      "its group (no characters: none); add esp::optimizer::rest(optimizer) behind the entries");
        return get<(found < count ? found : 0)>(all);
    }
    /// What f makes of every op, for the same tensors.
    template <class F> constexpr auto map(F const& f) const {
        return [&]<std::size_t... At>(std::index_sequence<At...>) {
            return ops_by_group<type_list<Tensors...>, decltype(f(get<At>(all)))...>{{{{f(get<At>(all))}...}}};
        }
        (std::make_index_sequence<count>{});
    }
};

} // namespace detail

/// The optimizer of the tensors of a parameter group, `of<"head"_name>(sgd{.learning_rate = 0.1})`.
template <short_name Name, class Optimizer>
constexpr detail::entry<detail::for_group<Name>, Optimizer> of(Optimizer optimizer) {
    return {std::move(optimizer)};
}
/// The optimizer of the tensors of a role, `of<role::bias>(sgd{.learning_rate = 0.1})`.
template <role Role, class Optimizer>
constexpr detail::entry<detail::for_role<Role>, Optimizer> of(Optimizer optimizer) {
    return {std::move(optimizer)};
}
/// The optimizer of the tensors that no entry before it is for.
template <class Optimizer> constexpr detail::entry<detail::for_rest, Optimizer> rest(Optimizer optimizer) {
    return {std::move(optimizer)};
}

/// Several optimizers, of which every tensor has one: that of the first entry which is for its parameter group (see
/// `in_group`) or its role.
///
///     optimizer::by_group{optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.1}),
///                         optimizer::of<role::bias>(optimizer::sgd{.learning_rate = 0.01}),
///                         optimizer::rest(optimizer::adamw{.learning_rate = 1e-3})}
///
/// The choice is made while the program compiles: the update of a tensor is the code, and has the bits, that it has
/// with its optimizer alone. `rest` may be left out when there is no tensor for it. What is of the whole network, the
/// time of schedules, the norm that clips, is the same for all; a proximal penalty uses the rate of its tensor's
/// optimizer.
///
/// Memory: the largest number of moments that any of them has, for every weight. Throws data_error where an optimizer
/// of an entry does, and says whose it is; so does a training when entries before one take all its tensors.
template <class... Entries> class by_group {
    static constexpr bool sound = detail::check_entries<Entries...>();
    static_assert(sound || true); // it says itself what is wrong

public:
    static constexpr char const* name = "by_group";

    constexpr by_group(Entries... entries) : entries_{{{std::move(entries)}...}} {}

    void validate() const {
        if constexpr (sound) for_each(entries_, [](auto const& one) { named(one, [&] { one.its.validate(); }); });
    }
    auto at(clock const& now, std::uint64_t update) const {
        if constexpr (sound) return [&]<std::size_t... At>(std::index_sequence<At...>) {
                return detail::ops_by_group<type_list<typename Entries::tensors...>,
                                            decltype(get<At>(entries_).its.at(now, update))...>{
                    {{{named(get<At>(entries_), [&] { return get<At>(entries_).its.at(now, update); })}...}}};
            }
        (std::index_sequence_for<Entries...>{});
        else return detail::no_op{};
    }
    /// Calls f(words, optimizer) for each entry: "group head", "role bias", "the rest".
    template <class F> void each(F const& f) const {
        for_each(entries_, [&]<class One>(One const& one) { f(One::tensors::words(), one.its); });
    }

private:
    template <class Entry, class F> static auto named(Entry const&, F const& f) {
        try {
            return f();
        } catch (data_error const& problem) {
            espalier::detail::throw_data_error("optimizer::by_group, ", Entry::tensors::words(), ": ", problem.what());
        }
    }

    flat_tuple<Entries...> entries_;
};

} // namespace espalier::optimizer
