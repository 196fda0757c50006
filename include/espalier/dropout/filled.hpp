// SPDX-License-Identifier: Apache-2.0
// A dropout that puts a number in the place of what it drops.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/prefixed_name.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <limits>
#include <string_view>

namespace espalier::dropout {

/// The op of `filled`: factors and shifts of Op, and `value` where the factor is 0.
template <class Op> struct filled_op : Op {
    double value;
    static constexpr auto numbers = fields_of<Op>() + fields<&filled_op::value>;

    template <class T, class Bits> ESPALIER_FN T shift(epilogue_about<T, Bits> const& about) const {
        using espalier::select;
        using S = scalar_of<T>;
        Op const& given = *this;
        T const zero(S(0)), factor = espalier::detail::factor_of(given, about);
        return select(factor == zero, T(static_cast<S>(value)), espalier::detail::shifted(given, zero, about));
    }
};

namespace detail {
struct filled_prefix {
    static constexpr std::string_view text = "filled_";
};
inline constexpr schedule::bounds any_number{-std::numeric_limits<double>::max(), std::numeric_limits<double>::max()};
} // namespace detail

/// y = factor x of Dropout where it keeps, and Value where it drops: a null value that says "not there" otherwise than
/// a 0 does, as a masked input or a missing modality. With `unscaled` what is kept stays as it is: `filled<-1.0,
/// unscaled<drop_path<0.5>>>`. Nothing is learned from what is dropped. Value: a number or a schedule, finite; throws
/// data_error when a schedule gives another one.
template <schedule::number_or_schedule auto Value, class Dropout> struct filled : Dropout {
    static_assert(diagnostic::holds<policy_on<Dropout, axis::dropout>, diagnostic::from_policy<Dropout>>,
                  "espalier: dropout::filled stands around a dropout; the next line names what it was given");
    static_assert(
        diagnostic::holds<schedule::stays_within(Value, detail::any_number), diagnostic::from_policy<Dropout>,
                          diagnostic::given<Value>>,
        "espalier: the value of dropout::filled must be finite; the next lines name its dropout and the value");
    static constexpr std::string_view name = espalier::detail::prefixed_name<detail::filled_prefix, Dropout>;
    static constexpr bool keeps_mean = false;
    using op = filled_op<op_of<Dropout>>;
    static op at(clock const& now) {
        return {op_at<Dropout>(now), schedule::value_within(Value, now, detail::any_number, "dropout", name, "value")};
    }
};

} // namespace espalier::dropout
