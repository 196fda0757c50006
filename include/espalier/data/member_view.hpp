// SPDX-License-Identifier: Apache-2.0
// One member of every record of an array: features, targets, labels that lie between others in the program's own
// structures.
// Included by host code (host only).
#pragma once

#include <espalier/core/view.hpp>

#include <array>
#include <cstddef>
#include <type_traits>

namespace espalier {

namespace detail {

template <class Record, class Element> constexpr index_t record_stride() {
    static_assert(
        sizeof(Record) % sizeof(Element) == 0,
        "espalier: member_view counts the distance between records in elements of the member, and a record of "
        "this size is no whole number of them: pad it, or give the member a smaller type");
    return static_cast<index_t>(sizeof(Record) / sizeof(Element));
}

template <class Record, class Class>
concept record_of = std::is_same_v<std::remove_const_t<Record>, Class> || std::is_base_of_v<Class, Record>;

template <class Record, class Element>
using element_in = std::conditional_t<std::is_const_v<Record>, Element const, Element>;

} // namespace detail

/// A member of `count` records, without a copy: one column.
///
///     struct house { float rooms[3]; int street; float price; std::int32_t kind; };
///     data_view rows{member_view(houses, n, &house::rooms)};      // n x 3, sizeof(house) apart
///     rows.targets = member_view(houses, n, &house::price);       // one target
///     rows.labels = member_view(houses, n, &house::kind);
template <class Record, class Class, class Member>
requires detail::record_of<Record, Class> && std::is_arithmetic_v<Member>
constexpr column_view<detail::element_in<Record, Member>> member_view(Record* records, index_t count,
                                                                      Member Class::*member) {
    return {count > 0 ? &(records->*member) : nullptr, count, detail::record_stride<Record, Member>()};
}

/// A member that is an array: as many columns as it has elements.
template <class Record, class Class, class Element, std::size_t N>
requires detail::record_of<Record, Class>
constexpr matrix_view<detail::element_in<Record, Element>> member_view(Record* records, index_t count,
                                                                       Element (Class::*member)[N]) {
    return {count > 0 ? &(records->*member)[0] : nullptr, count, static_cast<index_t>(N),
            detail::record_stride<Record, Element>()};
}
/// The same of a std::array.
template <class Record, class Class, class Element, std::size_t N>
requires detail::record_of<Record, Class>
constexpr matrix_view<detail::element_in<Record, Element>> member_view(Record* records, index_t count,
                                                                       std::array<Element, N> Class::*member) {
    return {count > 0 ? (records->*member).data() : nullptr, count, static_cast<index_t>(N),
            detail::record_stride<Record, Element>()};
}

} // namespace espalier
