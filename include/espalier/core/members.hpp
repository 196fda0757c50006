// SPDX-License-Identifier: Apache-2.0
// For those who write an axis: sentences about members that a policy lacks. Both are for a function
// `template <class Asked> consteval bool members()`; Asked names `where`, `layer`, `policy` and its `op`.
// ESPALIER_NEEDS_OF_T is for headers that include core/pack.hpp.
#pragma once

#include <espalier/core/diagnostic.hpp>

/// One assertion for one member; the concept that failed and the sentence say what to write.
#define ESPALIER_NEEDS(condition, sentence)                                                                            \
    static_assert(::espalier::diagnostic::holds<(condition), typename Asked::where,                                    \
                                                ::espalier::diagnostic::in_layer<typename Asked::layer>,               \
                                                ::espalier::diagnostic::from_policy<typename Asked::policy>>,          \
                  "espalier: " sentence "; the next lines name the layer's index and the policy")

/// The same for functions of T, whose concept takes the op and T: first whether they are there, then whether they are
/// templates. A function of float can be called with a double, and only a pack tells.
#define ESPALIER_NEEDS_OF_T(result, concept_of_t, sentence)                                                            \
    constexpr bool result##_there =                                                                                    \
        concept_of_t<typename Asked::op, float> && concept_of_t<typename Asked::op, double>;                           \
    constexpr bool result = result##_there && concept_of_t<typename Asked::op, ::espalier::native_pack<float>>;        \
    ESPALIER_NEEDS(result##_there, sentence);                                                                          \
    ESPALIER_NEEDS(                                                                                                    \
        result || !result##_there,                                                                                     \
        "a function takes or gives one type of number, and loops call it with packs of them too, as T in: " sentence)
