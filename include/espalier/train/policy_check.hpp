// SPDX-License-Identifier: Apache-2.0
// host only. One call that says whether a policy of one's own keeps its contract.
#pragma once

#include <espalier/activation/check.hpp>
#include <espalier/activation_penalty/check.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/dropout/check.hpp>
#include <espalier/gate/check.hpp>
#include <espalier/initial/check.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/penalty/check.hpp>
#include <espalier/projection/check.hpp>
#include <espalier/prune/check.hpp>
#include <espalier/train/policy_checker.hpp>
#include <espalier/transform/check.hpp>
#include <espalier/weight/check.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <typeinfo>

namespace espalier {

namespace detail {

/// Whether a mangled name has a floating-point number among its template arguments: L, the letter of the type, its bits
/// as hexadecimal digits, E. A structure of zeros only is written without its members and not seen.
constexpr bool has_floating_argument(std::string_view mangled) {
    for (std::size_t at = 0; at + 2 < mangled.size(); ++at) {
        if (mangled[at] != 'L') continue;
        char const type = mangled[at + 1];
        std::size_t end = at + 2;
        while (end < mangled.size() &&
               ((mangled[end] >= '0' && mangled[end] <= '9') || (mangled[end] >= 'a' && mangled[end] <= 'f')))
            ++end;
        std::size_t const digits = end - at - 2;
        bool const whole = (type == 'f' && digits == 8) || (type == 'd' && digits == 16) ||
                           (type == 'e' && (digits == 20 || digits == 32));
        if (whole && end < mangled.size() && mangled[end] == 'E') return true;
    }
    return false;
}

template <class P> void check_op_type(policy_checker& to) {
#if defined(__cpp_rtti)
    if constexpr (P::axis::template reaches_kernels<P>)
        to.line(!has_floating_argument(typeid(op_of<P>).name()),
                "no floating-point number in the type of its op: numbers are members, which `at(clock)` fills");
#else
    static_cast<void>(to);
#endif
}

} // namespace detail

/// Checks a policy on its own, in double precision, with the numbers it has at the time `now`. While compiling: it is a
/// policy and has every member its axis asks for (one sentence for each that is missing). At run time, against central
/// differences at points in [-5, 5], with a point near a kink left out and the point 0 held between both slopes:
///     activation          backward; what it declares to read; a NaN stays one. Of a row form the gradient of
///                         rows of 11 columns, and one row in one lane against several rows in packs and one row
///                         over lanes
///     penalty             gradient of elements or groups; prox against its definition
///     activation_penalty  gradient of the whole term over a batch of 4 x 3
///     weight              pull; what is stored; `effective` depends on the weight and the mask only
///     prune               the same of its rule; what share its selection leaves out
///     dropout             the mean factor over all 65536 draws is 1 and the mean shift 0, unless it says
///                         `keeps_mean = false`
///     transform           finite results that depend on what is declared only
///     gate                gradient of weights and term; rows in every form; experts that exist, finite
///                         weights that add up to 1 where it does not say otherwise, for random, equal, very large
///                         and not-finite logits; lookups and tables; first values
///     initial             finite values that depend on place and site alone
/// and packs of floats against single floats, NaN and infinities among them. On every axis whose ops reach kernels the
/// type of the op must be free of floating-point numbers: kernels that differ in one are compiled anew, and nvcc
/// launches nothing where 15 digits do not hold it (docs/compilers.md). Without RTTI that is not looked at.
///
/// What is left to other checks stands in the report as "not checked", with where it is done: an operator in place of a
/// product, products, dispatches and merges have their members looked at only. What is no policy of a layer has
/// functions of its own: `check_loss`, `check_optimizer`, `check_schedule`, `check_batch`.
///
///     auto const report = check_policy<my_activation>();
///     if (!report.ok()) std::fputs(report.text.c_str(), stdout);
template <class P> policy_report check_policy(clock const& now = {}) {
    struct check_policy_alone;
    policy_checker to;
    if constexpr (detail::check_is_policy<diagnostic::alone, check_policy_alone, P>()) {
        if constexpr (detail::check_members<diagnostic::alone, check_policy_alone, P>()) {
            policy_info named;
            named.name = name_of<P>();
            detail::write_numbers<P>(named, now);
            to.report.text = named.text() + " on axis " + std::string(P::axis::name) + "\n";
            to.line(true, "has every member that its axis asks for");
            detail::check_op_type<P>(to);
            P::axis::template check<P>(to, now);
        }
    }
    return to.report;
}

} // namespace espalier
