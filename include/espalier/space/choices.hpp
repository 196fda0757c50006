// SPDX-License-Identifier: Apache-2.0
// host only. One axis of a space of specialisations: a name and the types or numbers to choose from.
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/space/labels.hpp>

#include <boost/hana/tuple.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier {

/// The name of an axis of choices: 1 to 16 characters, without '=' (words have it, "axis=option"), ',' (tables have it)
/// and blanks.
struct choice_name {
    short_name text;
    bool fits = true; ///< `choice_axis` says what is wrong: an error in a template's argument is a riddle

    template <std::size_t N>
    consteval choice_name(char const (&literal)[N])
        : text(detail::name_from(literal, N - 1 < 16 ? N - 1 : 16)), fits(N > 1 && N - 1 <= 16) {
        for (char const c : std::string_view(literal, N - 1))
            fits = fits && c > ' ' && c != '=' && c != ',';
    }
};

namespace detail {

/// "espalier::dropout::bernoulli<2.0000000000000001e-1>", as the compiler writes the type.
template <class T> consteval std::string_view written_type() {
    std::string_view text = __PRETTY_FUNCTION__;
    text.remove_prefix(text.find("T = ") + 4);
    // GCC goes on with "; std::string_view = ...]", Clang with "]".
    std::size_t const end = text.find("; std::string_view");
    return text.substr(0, end != text.npos ? end : text.size() - 1);
}

/// The name without arguments and namespaces.
constexpr std::string_view bare_type(std::string_view written) {
    written = written.substr(0, written.find('<'));
    std::size_t const colon = written.rfind(':');
    return colon == written.npos ? written : written.substr(colon + 1);
}

template <class T>
concept has_value_in_objects = requires {
    requires std::is_member_pointer_v<decltype(&T::value)>;
};
/// A type that stands for a constant, its member `value`.
template <class T>
concept constant_option = !policy<T> && !has_value_in_objects<T> && requires {
    typename std::integral_constant<std::remove_cv_t<decltype(T::value)>, T::value>;
};
/// A number without a point becomes it by cutting the fraction off: a type with one is a name and no number.
template <class T>
concept number_option = constant_option<T> && std::convertible_to<decltype(T::value), long long> &&
    !std::is_floating_point_v<std::remove_cv_t<decltype(T::value)>>;
template <class T>
concept enumerator_option =
    constant_option<T> && !number_option<T> && std::is_enum_v<std::remove_cv_t<decltype(T::value)>>;

template <class T> consteval choice_option option_of() {
    if constexpr (number_option<T>) {
        choice_option number{.name = {}, .value = static_cast<long long>(T::value), .number = true};
        if constexpr (std::is_same_v<std::remove_cv_t<decltype(T::value)>, bool>)
            number.name = T::value ? "true" : "false";
        return number;
    } else if constexpr (enumerator_option<T>)
        return {.name = field_name<T::value>()};
    else if constexpr (!policy_name<T>().empty())
        return {.name = policy_name<T>()};
    else
        return {.name = bare_type(written_type<T>())};
}

template <class T> std::string label_of_option() {
    constexpr bool alone = number_option<T> || enumerator_option<T>;
    return option_label(option_of<T>(), alone ? std::string_view{} : written_type<T>());
}

} // namespace detail

/// The options of one axis. `choices` makes it.
template <choice_name Name, class... Options> struct choice_axis {
    static_assert(sizeof...(Options) > 0,
                  "espalier: an axis of choices has no option; give it one, or leave the axis out");
    static_assert(Name.fits,
                  "espalier: the name of an axis of choices has 1 to 16 characters, none of them '=', ',' or "
                  "a blank");

    static constexpr choice_name name = Name;
    static constexpr std::size_t size = sizeof...(Options);
    static constexpr std::array<choice_option, size> options{detail::option_of<Options>()...};
    template <std::size_t At> using type = type_at<At, Options...>;

    static std::vector<std::string> labels() { return {detail::label_of_option<Options>()...}; }
};

/// The axis Name of a space: `choices<"activation">(hana::tuple_t<activation::relu, activation::silu>)` for types,
/// `choices<"width">(hana::tuple_c<int, 64, 128>)` for whole numbers, bools and enumerators, which a stack sees as
/// types with a member `value`.
template <choice_name Name, class... Options>
constexpr choice_axis<Name, typename Options::type...> choices(boost::hana::tuple<Options...> const&) {
    return {};
}

/// Anything else than a tuple of Hana.
template <choice_name Name, class T> constexpr choice_axis<Name, T> choices(T const&) {
    static_assert(sizeof(T) == 0, "espalier: esp::choices<NAME> takes boost::hana::tuple_t<types...> or "
                                  "boost::hana::tuple_c<int, numbers...>");
    return {};
}

} // namespace espalier
