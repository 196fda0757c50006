// SPDX-License-Identifier: Apache-2.0
// expect: a gate without logits needs .*std::int32_t expert\(rows const& batch.*std::string refusal
// expect: at_layer<1>
// A gate that looks its rows up and cannot say which it refuses.
#include <espalier/gate/concept.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct my_gate {
    using axis = espalier::axis::gate;
    static constexpr int experts = 4;
    static constexpr int slots = 1;
    static constexpr int logits = 0;
    static constexpr bool slot_is_expert = false;
    template <class T, class W> ESPALIER_FN std::int32_t expert(rows const&, index_t r, T const*, W const*) const {
        return static_cast<std::int32_t>(r % 4);
    }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> static std::string refusal(rows const&, index_t, T const*) {
        return "none is refused";
    }
#endif
};
using stack = sequence<input<16>, moe<my_gate, dense<8>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
