// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/layer/concept.hpp>

namespace espalier {

namespace detail {

template <shape In> struct bound_input : invalid_layer<In, In> {
    static constexpr layer_facts facts{.passes_through = true};
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        report.add_layer(path, at, text_parts{"input"}, In, In);
    }
};

} // namespace detail

/// Says the shape of one row. It begins a stack; anywhere else it checks that the rows have this shape there. It costs
/// nothing.
template <int Features, int Height = 1, int Width = 1> struct input {
    static_assert(Features > 0 && Height > 0 && Width > 0, "espalier: the extents of an input are positive");
    static constexpr std::string_view name = "input";
    static constexpr shape extents{Features, Height, Width};

    static constexpr shape output(shape) { return extents; }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        constexpr bool ok = In.size() == 0 || In.size() == extents.size();
        static_assert(
            diagnostic::holds<ok, Where, diagnostic::given_width<In.size()>, diagnostic::needed_width<extents.size()>>,
            "espalier: the layer before gives rows of another width than this input<> states; the next lines "
            "name the layer's index, the width given and the width needed; change one of the two layers");
        return ok;
    }

    template <shape In, class Inherited> using bind = detail::bound_input<extents>;
};

} // namespace espalier
