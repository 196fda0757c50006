// SPDX-License-Identifier: Apache-2.0
// No dropout: the default.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/dropout/axis.hpp>

#include <string_view>

namespace espalier::dropout {

/// The factor is 1 everywhere, nothing is drawn and no code remains.
struct none {
    using axis = espalier::axis::dropout;
    static constexpr std::string_view name = "none";
    static constexpr random_scope scope = random_scope::none;

    template <class T, class Bits> ESPALIER_FN static T factor(Bits) { return T(scalar_of<T>(1)); }
};

} // namespace espalier::dropout
