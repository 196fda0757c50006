// SPDX-License-Identifier: Apache-2.0
// The numbers of an op by name, for whatever prints them; kernels never look.
#pragma once

#include <string_view>

namespace espalier {

/// Members of an op.
template <auto... Members> struct field_list {};

/// What an op says of its numbers, in one line behind them, so that `describe` prints each by its name:
///
///     struct my_op {
///         double strength, width;
///         static constexpr auto numbers = esp::fields<&my_op::strength, &my_op::width>;
///     };
template <auto... Members> inline constexpr field_list<Members...> fields{};

/// An op that names its numbers.
template <class Op>
concept names_numbers = requires {
    Op::numbers;
};

/// The name of a member, as its declaration has it.
template <auto Member> consteval std::string_view field_name() {
    // What compilers print of this function: "[with auto Member = &my_op::strength; ...]", "[Member =
    // &my_op::strength]"
    std::string_view text = __PRETTY_FUNCTION__;
    std::string_view const mark = "Member = ";
    text.remove_prefix(text.find(mark) + mark.size());
    text = text.substr(0, text.find_first_of(";]"));
    return text.substr(text.rfind(':') + 1);
}

namespace detail {

template <class Op, class Visit, auto... Members>
void visit_numbers(Op const& op, Visit const& visit, field_list<Members...>) {
    (visit(field_name<Members>(), op.*Members), ...);
}

} // namespace detail

/// Calls visit(name, value) for every number that the op names, in its order; for an op that names none not at all.
template <class Op, class Visit> void for_each_number(Op const& op, Visit const& visit) {
    if constexpr (names_numbers<Op>) detail::visit_numbers(op, visit, Op::numbers);
}

} // namespace espalier
