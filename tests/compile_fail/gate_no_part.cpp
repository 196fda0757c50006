// SPDX-License-Identifier: Apache-2.0
// expect: something in a gate's list is not a part of a gate
// expect: the op of a gate's part has its .static constexpr gate::part_kind kind. too
// expect: a part of a gate of kind temperature needs
// expect: a part of a gate of kind noise needs
// expect: a part of a gate of kind term needs .template <class Group, class State> ESPALIER_FN auto share
// expect: a part of a gate of kind term needs .template <class Group, class State, class Row, class T, class Gradient>
// expect: a part of a gate with .needs.statistics. needs
// expect c++: from_policy<.*l2
// A policy of a layer where a gate expects a part, and parts without the functions of their kind.
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l2.hpp>
using namespace espalier;
struct nothing {};
#ifdef ESPALIER_POSITIVE_TWIN
using part = gate::z_loss<1e-3>;
template <gate::part_kind> struct bare : gate::temperature<2.0> {};
struct without_backward : gate::z_loss<1e-3> {};
struct without_sums : gate::z_loss<1e-3> {};
struct without_kind : gate::z_loss<1e-3> {};
#else
using part = penalty::l2<1e-3>;
template <gate::part_kind Kind> struct bare { static constexpr gate::part_kind kind = Kind; };
struct without_backward {
    static constexpr gate::part_kind kind = gate::part_kind::term;
    template <class Group, class State> ESPALIER_FN auto share(Group const&, State const& s) const { return s.top; }
};
struct without_sums {
    static constexpr gate::part_kind kind = gate::part_kind::term;
    static constexpr gate::part_needs needs{.statistics = 1};
};
struct without_kind {
    static constexpr gate::part_kind kind = gate::part_kind::term;
    using op = nothing;
    static op at(espalier::clock const&);
};
#endif
template <class Gate>
constexpr index_t width = sequence<input<16>, moe<Gate, dense<4>>>::template bind<shape{}, type_list<>>::output.size();
inline constexpr index_t widths =
    width<gate::softmax<4, part>> + width<gate::top_k<4, 2, bare<gate::part_kind::temperature>>> +
    width<gate::top_k<4, 2, bare<gate::part_kind::noise>>> + width<gate::top_k<4, 2, bare<gate::part_kind::term>>> +
    width<gate::softmax<4, without_backward>> + width<gate::top_k<4, 2, without_sums>> +
    width<gate::top_k<4, 2, without_kind>>;
