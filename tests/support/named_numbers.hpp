// SPDX-License-Identifier: Apache-2.0
// Whether a policy tells `describe` of its numbers.
#pragma once

#include <espalier/layer/report.hpp>

#include <type_traits>

namespace support {

template <class P> consteval bool names_its_numbers();

template <class... Parts> consteval bool all_name_their_numbers(espalier::type_list<Parts...>) {
    return (true && ... && names_its_numbers<Parts>());
}

/// An op with members names some, or is made of parts that do. Of a policy or a part of one.
template <class P> consteval bool names_its_numbers() {
    using op = typename espalier::detail::op_type<P>::type;
    if constexpr (espalier::detail::consists_of_parts<P>)
        return all_name_their_numbers(typename P::consists_of{});
    else if constexpr (std::is_empty_v<op>)
        return true;
    else
        return !std::is_same_v<decltype(espalier::fields_of<op>()), espalier::field_list<>>;
}

} // namespace support
