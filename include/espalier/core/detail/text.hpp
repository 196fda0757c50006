// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of core/text.hpp; see core/library.hpp.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/text.hpp>

#include <charconv>

namespace espalier::detail {

template <class... Precision> void append_digits(std::string& text, auto number, Precision... precision) {
    char digits[48];
    text.append(digits,
                std::to_chars(digits, digits + sizeof digits, number, std::chars_format::general, precision...).ptr);
}

ESPALIER_LIBRARY void text_part::append_to(std::string& text) const {
    switch (kind_) {
    case kind::words:
        text += words_;
        break;
    case kind::whole:
        text += std::to_string(whole_);
        break;
    case kind::natural:
        text += std::to_string(static_cast<std::uint64_t>(whole_));
        break;
    case kind::real:
        append_digits(text, real_);
        break;
    case kind::single:
        append_digits(text, static_cast<float>(real_));
        break;
    case kind::rounded: // to_string makes 0.000000 of a learning rate of 1e-9
        append_digits(text, real_, 6);
        break;
    }
}

ESPALIER_LIBRARY std::string text_of_parts(text_parts parts) {
    std::string text;
    for (text_part const& part : parts)
        part.append_to(text);
    return text;
}

ESPALIER_LIBRARY void throw_shape(text_parts parts) {
    throw shape_error(text_of_parts(parts));
}
ESPALIER_LIBRARY void throw_data(text_parts parts) {
    throw data_error(text_of_parts(parts));
}
ESPALIER_LIBRARY void throw_file(text_parts parts) {
    throw file_error(text_of_parts(parts));
}
ESPALIER_LIBRARY void throw_numerical(text_parts parts) {
    throw numerical_error(text_of_parts(parts));
}

} // namespace espalier::detail
