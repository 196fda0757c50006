// SPDX-License-Identifier: Apache-2.0
// expect: a gate with slot_is_expert needs .*void backward\(Group const&, row<Group, T, logits> const& z
// expect: at_layer<1>
// A gate that has no way back.
#include <espalier/gate/concept.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct my_gate {
    using axis = espalier::axis::gate;
    static constexpr int experts = 4;
    static constexpr int slots = 4;
    static constexpr int logits = 4;
    static constexpr bool slot_is_expert = true;
    template <class Group, class T>
    ESPALIER_FN T route(Group const&, row<Group, T, 4> const& z, row<Group, T, 4>& weights) const {
        weights = z;
        return T(0);
    }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class Group, class T>
    ESPALIER_FN void backward(Group const&, row<Group, T, 4> const&, row<Group, T, 4> const&,
                              row<Group, T, 4> const& dweights, T const&, row<Group, T, 4>& dz) const {
        dz = dweights;
    }
#endif
};
using stack = sequence<input<16>, moe<my_gate, dense<8>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
