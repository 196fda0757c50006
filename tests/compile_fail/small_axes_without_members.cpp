// SPDX-License-Identifier: Apache-2.0
// expect: a policy on axis::bias needs .static constexpr bool present.
// expect: a policy on axis::group needs .static constexpr std::string_view name.
// expect: a policy on axis::units needs .static constexpr bool masks_units.
// expect: a dispatch needs .static constexpr bool gathers.
// expect: at_layer<1>
// Policies of one's own on axes that ask for one member.
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
template <class Axis> struct mine {
    using axis = Axis;
#ifdef ESPALIER_POSITIVE_TWIN
    static constexpr std::string_view name = "mine";
    static constexpr bool present = true, masks_units = false, gathers = true;
#endif
};
template <class Layer>
constexpr index_t width = sequence<input<2>, Layer>::template bind<shape{}, type_list<>>::output.size();
inline constexpr index_t widths = width<dense<4, mine<axis::bias>>> + width<dense<4, mine<axis::group>>> +
                                  width<dense<4, mine<axis::units>>> +
                                  width<moe<gate::softmax<2>, dense<4>, mine<axis::dispatch>>>;
