// SPDX-License-Identifier: Apache-2.0
// The numbers of an op or a policy by name, for whatever prints them; kernels never look.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace espalier {

/// Members of an op or a policy.
template <auto... Members> struct field_list {};

/// What an op says of its numbers, in one line behind them, so that `describe` prints each by its name:
///
///     struct my_op {
///         double strength, width;
///         static constexpr auto numbers = esp::fields<&my_op::strength, &my_op::width>;
///     };
///
/// Of a number that is stored in another form than it was written in, a function without arguments is named instead of
/// the member: it gives the form that people know. A policy names so what is not in its op: static members, and static
/// functions of the clock. An array stands for its elements.
template <auto... Members> inline constexpr field_list<Members...> fields{};

/// Lists one after the other: an op that derives from another one has its numbers first.
template <auto... First, auto... Second>
consteval field_list<First..., Second...> operator+(field_list<First...>, field_list<Second...>) {
    return {};
}

namespace detail {

// BOOST_HANA_DEFINE_STRUCT leaves the pointers to members in the types that a function of the struct returns: a tuple
// of pairs of a name and a pointer. They are read off there, so that nobody who does not use Hana includes it.
template <class Pair> struct hana_member;
template <template <class, class> class Pair, class Name, template <class T, T> class Accessor, class T, T Member>
struct hana_member<Pair<Name, Accessor<T, Member>>> {
    static constexpr T pointer = Member;
};
template <class Accessors> struct hana_members;
template <template <class...> class Tuple, class... Pairs> struct hana_members<Tuple<Pairs...>> {
    using type = field_list<hana_member<Pairs>::pointer...>;
};

template <class Op>
concept hana_struct = requires {
    Op::hana_accessors_impl::apply();
};
template <class Op>
concept has_field_list = requires {
    Op::numbers;
};

} // namespace detail

/// What names its numbers: by a list, or as a struct that BOOST_HANA_DEFINE_STRUCT has defined, where every member is a
/// number.
template <class Op>
concept names_numbers = detail::has_field_list<Op> || detail::hana_struct<Op>;

/// The numbers that Op names; none if it names none.
template <class Op> consteval auto fields_of() {
    if constexpr (detail::has_field_list<Op>)
        return Op::numbers;
    else if constexpr (detail::hana_struct<Op>)
        return typename detail::hana_members<decltype(Op::hana_accessors_impl::apply())>::type{};
    else
        return field_list<>{};
}

/// The name of a member, as its declaration has it.
template <auto Member> consteval std::string_view field_name() {
    // What compilers print of this function: "[with auto Member = &my_op::strength; ...]", "[Member =
    // &my_op::strength]", a static member in brackets. What a template's arguments hold stands before the last colon.
    std::string_view text = __PRETTY_FUNCTION__;
    text = text.substr(0, text.rfind("; std::string_view"));
    text.remove_prefix(text.rfind(':') + 1);
    std::size_t length = 0;
    auto const in_name = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    };
    while (length < text.size() && in_name(text[length]))
        ++length;
    return text.substr(0, length);
}

namespace detail {

template <auto Member, class Op>
concept is_member_of = requires(Op const& op) {
    op.*Member;
}
|| requires(Op const& op) {
    (op.*Member)();
};

/// The function on the part of an op that has it: on an op that derives from that part GCC 12 takes the call for one
/// through a pointer of another type.
template <class Part, class Number>
constexpr Number call(std::type_identity_t<Part> const& op, Number (Part::*function)() const) {
    return (op.*function)();
}

template <auto Member, class Op, class Time> constexpr decltype(auto) value_of_field(Op const& op, Time const& now) {
    using kind = decltype(Member);
    if constexpr (std::is_member_pointer_v<kind>) {
        static_assert(is_member_of<Member, Op>,
                      "espalier: `numbers` of a policy with an op of its own names static members; those of the op are "
                      "named in the op");
        if constexpr (!is_member_of<Member, Op>)
            return 0.0;
        else if constexpr (std::is_member_function_pointer_v<kind>)
            return call(op, Member);
        else
            return (op.*Member);
    } else if constexpr (std::is_invocable_v<kind, Time const&>) {
        return Member(now);
    } else {
        return (*Member);
    }
}

template <class Visit, class Value> void visit_number(Visit const& visit, std::string_view name, Value const& value) {
    if constexpr (std::is_array_v<Value>) {
        for (auto const& element : value)
            visit_number(visit, name, element);
    } else {
        static_assert(std::is_arithmetic_v<Value>,
                      "espalier: `numbers` names a member that is no number: name numbers, arrays of them, and "
                      "functions that give one");
        if constexpr (std::is_arithmetic_v<Value>) visit(name, value);
    }
}

} // namespace detail

/// Calls visit(name, value) for every number of the list, in its order: members of `op`, and static ones at `now`.
template <class Op, class Time, class Visit, auto... Members>
void for_each_number(field_list<Members...>, Op const& op, Time const& now, Visit const& visit) {
    (detail::visit_number(visit, field_name<Members>(), detail::value_of_field<Members>(op, now)), ...);
}

} // namespace espalier
