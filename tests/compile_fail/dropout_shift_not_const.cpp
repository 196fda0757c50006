// SPDX-License-Identifier: Apache-2.0
// expect: the `shift` of a dropout is
// nvcc: skip it does not find a member template by its name alone
// A shift that loops cannot call would be none.
#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/dropout/axis.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct up_op {
    static constexpr random_scope scope = random_scope::element;
    template <class T, class Bits> ESPALIER_FN T factor(Bits) const { return T(1.0f); }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T, class Bits> ESPALIER_FN T shift(Bits) const {
        return T(1.0f);
    }
#else
    template <class T, class Bits> ESPALIER_FN T shift(Bits) {
        return T(1.0f);
    }
#endif
};
struct up {
    using axis = espalier::axis::dropout;
    static constexpr std::string_view name = "up";
    using op = up_op;
};
using stack = sequence<input<16>, dense<8, up>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
