// SPDX-License-Identifier: Apache-2.0
// host only. The names in a space of specialisations: what does not depend on its types.
#pragma once

#include <espalier/core/short_name.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

/// What a predicate over combinations sees of an option.
struct choice_option {
    std::string_view name; ///< of a policy its own, of another type that of the type without its arguments, of an
                           ///< enumerator its own, of bool "true" or "false"; of another number none
    long long value = 0;   ///< of a number, and of bool
    bool number = false;
};

/// One combination by the names of its axes and options, in the order of the axes.
struct combination {
    /// What was chosen of an axis.
    struct choice {
        std::string axis;
        std::string label; ///< "bernoulli<0.2>", "128"
    };
    std::size_t index = 0; ///< in the space
    std::vector<choice> choices;

    /// "activation=silu dropout=bernoulli<0.2> width=128"
    std::string text() const;
};

/// An axis as text.
struct axis_labels {
    std::string name;
    std::vector<std::string> options;
};

/// "axis=option" for each member of a JSON object: {"activation": "silu", "width": 128, "bias": true}. Throws
/// data_error for anything else than an object of texts, whole numbers and booleans.
std::vector<std::string> choices_from_json(std::string_view text);

namespace detail {

/// "bernoulli<0.2>": the name, and the arguments as written, without namespaces and with the fewest digits that give
/// the number; of a number the number.
std::string option_label(choice_option const& option, std::string_view written);
/// A type as written, without namespaces and with the fewest digits that give its numbers.
std::string short_type(std::string_view written);

/// Labels that are alike get a number: "mine", "mine#2".
axis_labels label_axis(short_name name, std::vector<std::string> labels);

combination combination_of(std::vector<axis_labels> const& axes, std::size_t index);
/// The combination that the words ask for. Throws data_error, which lists what there is.
std::size_t find_combination(std::vector<axis_labels> const& axes, std::vector<std::string> const& words);
[[noreturn]] void throw_not_in_set(combination const& which, char const* refusal, std::size_t size);

} // namespace detail

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/space/detail/labels.hpp>
#endif
