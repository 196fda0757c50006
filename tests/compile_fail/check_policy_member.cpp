// SPDX-License-Identifier: Apache-2.0
// expect: a penalty needs `template <class T> ESPALIER_FN T gradient\(T w\) const` in its op
// expect: half_a_penalty
// nvcc: skip check_policy is host code
// A policy that is checked on its own before it has all its members.
#include <espalier/train/policy_check.hpp>
#include <string_view>
struct half_a_penalty {
    using axis = espalier::axis::penalty;
    static constexpr std::string_view name = "half";
    template <class T> T value(T w) const { return w * w; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> T gradient(T w) const {
        return w + w;
    }
#endif
};
bool good() {
    return espalier::check_policy<half_a_penalty>().ok();
}
