// SPDX-License-Identifier: Apache-2.0
// The two forms that a function of a policy may have: of what it works on alone, or with a named struct behind it from
// which it reads what more it wants, `value(w)` or `value(w, about)`. A policy that wants nothing more never hears of
// the struct, and a field that is added to one breaks no policy.
#pragma once

#include <espalier/core/macros.hpp>

// ESPALIER_ABOUT_FORMS(f) defines, in the namespace that it stands in,
//     f_reads_about<Op, About, Given...>   whether op.f(given..., about) is there
//     f_is_there<Op, About, Given...>      whether that or op.f(given...) is
//     f(op, about, given...)               which calls the former where it is there, and the latter where it is not
#define ESPALIER_ABOUT_FORMS(f)                                                                                        \
    template <class Op, class About, class... Given>                                                                   \
    concept f##_reads_about = requires(Op const& op, About& about, Given&... given) {                                  \
        op.f(given..., about);                                                                                         \
    };                                                                                                                 \
    template <class Op, class About, class... Given>                                                                   \
    concept f##_is_there = f##_reads_about<Op, About, Given...> || requires(Op const& op, Given&... given) {           \
        op.f(given...);                                                                                                \
    };                                                                                                                 \
    template <class Op, class About, class... Given>                                                                   \
    requires f##_is_there<Op, About, Given...> ESPALIER_FN auto f(Op const& op, About&& about, Given&&... given) {     \
        if constexpr (f##_reads_about<Op, About, Given...>)                                                            \
            return op.f(given..., about);                                                                              \
        else                                                                                                           \
            return op.f(given...);                                                                                     \
    }

// ESPALIER_MEMBER_OR(name, member, otherwise) defines `name<X>()`: X::member, and `otherwise` for an X without it.
#define ESPALIER_MEMBER_OR(name, member, otherwise)                                                                    \
    template <class X> consteval auto name() {                                                                         \
        if constexpr (requires { X::member; })                                                                         \
            return X::member;                                                                                          \
        else                                                                                                           \
            return otherwise;                                                                                          \
    }
