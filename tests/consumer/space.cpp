// SPDX-License-Identifier: Apache-2.0
// A user's space of specialisations, compiled against the installed package with its component for that.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/silu.hpp>
#include <espalier/space/select.hpp>

#include <cstdio>

namespace hana = boost::hana;
namespace esp = espalier;

constexpr auto all = esp::space(esp::choices<"activation">(hana::tuple_t<esp::activation::relu, esp::activation::silu>),
                                esp::choices<"width">(hana::tuple_c<int, 8, 16>));
template <class Activation, class Width> struct stack { static constexpr int width = Width::value; };

int main() {
    int const width = esp::select<stack>(
        all, {"silu", "16"}, [](auto picked, esp::combination const&) { return decltype(picked)::type::width; });
    std::printf("espalier space: %s\n", width == 16 ? "right" : "wrong");
    return width == 16 ? 0 : 1;
}
