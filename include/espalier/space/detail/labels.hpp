// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of space/labels.hpp; see core/library.hpp.
#pragma once

#include <espalier/core/library.hpp>
#include <espalier/core/text.hpp>
#include <espalier/io/printable.hpp>
#include <espalier/space/labels.hpp>

#include <nlohmann/json.hpp>

#include <charconv>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace espalier::detail {

inline bool begins_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
inline bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

ESPALIER_LIBRARY std::string short_type(std::string_view written) {
    std::string text;
    while (!written.empty()) {
        char const c = written.front();
        // GCC and Clang write a namespace without a name in ways of their own.
        bool is_unnamed = false;
        for (std::string_view const unnamed : {"{anonymous}::", "(anonymous namespace)::", "<unnamed>::"})
            if (!is_unnamed && written.starts_with(unnamed)) {
                written.remove_prefix(unnamed.size());
                is_unnamed = true;
            }
        if (is_unnamed) continue;
        if (begins_word(c)) {
            std::size_t end = 0;
            while (end < written.size() && (begins_word(written[end]) || is_digit(written[end])))
                ++end;
            if (!written.substr(end).starts_with("::")) text += written.substr(0, end);
            written.remove_prefix(written.substr(end).starts_with("::") ? end + 2 : end);
        } else if (is_digit(c)) {
            double number = 0.0;
            char const* const begin = written.data();
            auto const [end, problem] = std::from_chars(begin, begin + written.size(), number);
            bool const real = std::string_view(begin, static_cast<std::size_t>(end - begin)).find_first_of(".e") !=
                              std::string_view::npos;
            char digits[32];
            char const* const last = std::to_chars(digits, digits + sizeof digits, number).ptr;
            if (problem == std::errc() && real)
                text.append(digits, static_cast<std::size_t>(last - digits));
            else
                text.append(begin, end);
            written.remove_prefix(static_cast<std::size_t>(end - begin));
            // the suffix of an integer's type
            while (!real && !written.empty() && (written.front() == 'u' || written.front() == 'l'))
                written.remove_prefix(1);
        } else {
            if (c != ' ' || !written.substr(1).starts_with('>')) text += c; // "> >", as GCC has it
            written.remove_prefix(1);
        }
    }
    return text;
}

ESPALIER_LIBRARY std::string option_label(choice_option const& option, std::string_view written) {
    if (option.number && option.name.empty()) return std::to_string(option.value);
    std::size_t const arguments = written.find('<');
    std::string text(option.name);
    if (arguments == written.npos) return text;
    text += short_type(written.substr(arguments));
    return text;
}

ESPALIER_LIBRARY axis_labels label_axis(short_name name, std::vector<std::string> labels) {
    std::map<std::string, int> count;
    for (std::string& label : labels)
        if (int const n = ++count[label]; n > 1) label += '#' + std::to_string(n);
    return {name.str(), std::move(labels)};
}

ESPALIER_LIBRARY combination combination_of(std::vector<axis_labels> const& axes, std::size_t index) {
    combination out;
    out.index = index;
    out.choices.resize(axes.size());
    for (std::size_t a = axes.size(); a-- > 0; index /= axes[a].options.size())
        out.choices[a] = {axes[a].name, axes[a].options[index % axes[a].options.size()]};
    return out;
}

} // namespace espalier::detail

namespace espalier {

ESPALIER_LIBRARY std::string combination::text() const {
    std::string text;
    for (choice const& c : choices)
        text += (text.empty() ? "" : " ") + c.axis + '=' + c.label;
    return text;
}

} // namespace espalier

namespace espalier {

ESPALIER_LIBRARY std::vector<std::string> choices_from_json(std::string_view text) {
    auto const parsed = nlohmann::ordered_json::parse(text, nullptr, false);
    if (!parsed.is_object()) detail::throw_data_error("select: the choices are no JSON object: ", printable(text));
    std::vector<std::string> words;
    for (auto const& [axis, value] : parsed.items()) {
        if (!value.is_string() && !value.is_number_integer() && !value.is_boolean())
            detail::throw_data_error("select: the choice of '", printable(axis),
                                     "' is no text, whole number or boolean: ", printable(value.dump()));
        words.push_back(axis + '=' + (value.is_string() ? value.get<std::string>() : value.dump()));
    }
    return words;
}

namespace detail {

inline std::string list_of(std::vector<std::string> const& names) {
    std::string text;
    for (std::string const& name : names)
        text += (text.empty() ? "" : ", ") + name;
    return text;
}

inline std::size_t find_option(axis_labels const& axis, std::string_view name) {
    std::size_t found = axis.options.size();
    for (std::size_t o = 0; o < axis.options.size(); ++o) {
        std::string_view const label = axis.options[o];
        if (label == name) return o;
        if (label.substr(0, label.find_first_of("<#")) != name) continue;
        if (found != axis.options.size())
            throw_data_error("select: several options of axis '", axis.name, "' are called '", printable(name),
                             "'; write one of ", list_of(axis.options));
        found = o;
    }
    if (found == axis.options.size())
        throw_data_error("select: axis '", axis.name, "' has no option '", printable(name), "'; it has ",
                         list_of(axis.options));
    return found;
}

ESPALIER_LIBRARY std::size_t find_combination(std::vector<axis_labels> const& axes,
                                              std::vector<std::string> const& words) {
    std::vector<std::string> names;
    for (axis_labels const& axis : axes)
        names.push_back(axis.name);
    std::vector<std::string const*> given(axes.size(), nullptr);
    std::vector<std::string_view> option(axes.size());
    std::vector<std::string const*> alone;
    for (std::string const& word : words) {
        std::size_t const sign = word.find('=');
        if (sign == std::string::npos) {
            alone.push_back(&word);
            continue;
        }
        std::string_view const name = std::string_view(word).substr(0, sign);
        std::size_t a = 0;
        while (a < axes.size() && axes[a].name != name)
            ++a;
        if (a == axes.size())
            throw_data_error("select: there is no axis '", printable(name), "'; there are ", list_of(names));
        if (given[a]) throw_data_error("select: two words choose axis '", axes[a].name, "'; leave one of them");
        given[a] = &word;
        option[a] = std::string_view(word).substr(sign + 1);
    }
    std::size_t next = 0;
    for (std::string const* const word : alone) {
        while (next < axes.size() && given[next])
            ++next;
        if (next == axes.size())
            throw_data_error("select: '", printable(*word), "' is one word too many; the axes are ", list_of(names));
        given[next] = word;
        option[next] = *word;
    }
    std::size_t index = 0;
    for (std::size_t a = 0; a < axes.size(); ++a) {
        if (!given[a])
            throw_data_error("select: nothing is chosen for axis '", axes[a].name, "'; it has ",
                             list_of(axes[a].options));
        index = index * axes[a].options.size() + find_option(axes[a], option[a]);
    }
    return index;
}

ESPALIER_LIBRARY void throw_not_in_set(combination const& which, char const* refusal, std::size_t size) {
    if (refusal) throw_data_error("select: ", which.text(), " was left out of the set: ", refusal);
    throw_data_error("select: ", which.text(), " is not one of the ", size, " combinations that were compiled");
}

} // namespace detail
} // namespace espalier
