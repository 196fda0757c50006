// SPDX-License-Identifier: Apache-2.0
// expect: a loss needs `T evaluate\(group, z, target, dz, state\) const`
// A loss that cannot be evaluated.
// nvcc: skip this check is in host code that nvcc does not compile without warnings
#include <espalier/core/row.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <string_view>
using namespace espalier;
struct my_loss {
    static constexpr std::string_view name = "mine";
#ifdef ESPALIER_POSITIVE_TWIN
    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, loss::row_target<Group, T, N> const&,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        if (dz) *dz = z;
        return row_dot(group, z, z);
    }
#endif
};
double value(matrix_view<float const> z, rows const& batch) {
    return cpu::row_loss<float, 4>(my_loss{}, z, batch).value;
}
