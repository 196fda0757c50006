// SPDX-License-Identifier: Apache-2.0
// Rows have identity: where a row of a batch came from, and what the batch says about it.
#pragma once

#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace espalier {

/// A number for each row, of float or double as its owner keeps them. Made of a pointer; of none, the numbers are
/// absent.
class row_numbers {
public:
    constexpr row_numbers() = default;
    ESPALIER_FN constexpr row_numbers(std::nullptr_t) {}
    ESPALIER_FN constexpr row_numbers(float const* data) : of_float_(data) {}
    ESPALIER_FN constexpr row_numbers(double const* data) : of_double_(data), holds_double_(true) {}

    /// Calls `use(data)` with the pointer as what it is. On the host.
    template <class Use> constexpr decltype(auto) visit(Use&& use) const {
        return holds_double_ ? use(of_double_) : use(of_float_);
    }
    ESPALIER_FN constexpr explicit operator bool() const {
        return holds_double_ ? of_double_ != nullptr : of_float_ != nullptr;
    }
    ESPALIER_FN constexpr double operator[](index_t i) const {
        return holds_double_ ? of_double_[i] : static_cast<double>(of_float_[i]);
    }
    ESPALIER_FN constexpr row_numbers& operator+=(index_t n) {
        holds_double_ ? void(of_double_ += n) : void(of_float_ += n);
        return *this;
    }

private:
    union {
        float const* of_float_ = nullptr;
        double const* of_double_;
    };
    bool holds_double_ = false;
};

/// The rows of a batch and their tags. A null pointer means the tag is absent and its neutral value holds. Arrays have
/// `count` elements. Combinators and dispatch map the arrays, so that random bits, losses and per-sample state do not
/// depend on the layout that a layer happens to use.
struct rows {
    index_t count = 0;
    int copies = 1; ///< row i is one of so many outputs of one row: those of row i + k count / copies, tags alike
    std::uint32_t first = 0;               ///< origin of row 0 when `origin` is absent: row i has origin first + i
    std::uint32_t const* origin = nullptr; ///< position of the row in the batch as it was planned
    std::int64_t const* sample = nullptr;  ///< index of the row's sample in the data set
    std::int32_t const* label = nullptr;   ///< class
    std::int32_t const* partner_label = nullptr; ///< class of the sample it was mixed with
    float const* mixing = nullptr;               ///< share of its own sample in a mixed row; 1 when absent
    row_numbers weight = nullptr;                ///< factor of the row's loss; 1 when absent
    float const* sign = nullptr;                 ///< direction of the row's loss; +1 when absent
    std::int32_t const* group = nullptr;         ///< rows that belong together
    std::uint64_t const* key = nullptr;          ///< what a hash gate looks up
    row_numbers rate = nullptr;                  ///< share of the row that a dropout drops which asks; 0 when absent

    ESPALIER_FN constexpr std::uint32_t origin_of(index_t i) const {
        return origin ? origin[i] : first + static_cast<std::uint32_t>(copies == 1 ? i : i % (count / copies));
    }
    ESPALIER_FN constexpr std::int64_t sample_of(index_t i) const { return sample ? sample[i] : i; }
    ESPALIER_FN constexpr float mixing_of(index_t i) const { return mixing ? mixing[i] : 1.0f; }
    ESPALIER_FN constexpr double weight_of(index_t i) const { return weight ? weight[i] : 1.0; }

    /// Whether the row has a part in anything: a weight other than 0 and, where there are labels, one of its own or of
    /// the sample that it was mixed with.
    ESPALIER_FN constexpr bool counts(index_t i) const {
        if (weight && weight[i] == 0.0) return false;
        return !label || label[i] != -1 || (partner_label && partner_label[i] != -1);
    }

    /// Rows [from, from + n) of this batch, tags included.
    ESPALIER_FN constexpr rows slice(index_t from, index_t n) const;
};

/// One tag: the member of `rows` with its array, and the type of a number of it in a copy.
template <auto Array> struct row_tag;
/// A tag that is an array.
template <class U, U const* rows::*Array> struct row_tag<Array> {
    static constexpr auto array = Array;
    using value = U;
};
/// A tag whose numbers are float or double.
template <row_numbers rows::*Array> struct row_tag<Array> {
    static constexpr auto array = Array;
    using value = double;
};

/// Every tag of `rows` that has an array. Slices, batches without some of their rows, repeated rows, the rows of an
/// expert and copies in a device's memory have all that stand here: a new tag is a member of `rows` and a line of this
/// list.
using row_tags = type_list<row_tag<&rows::origin>, row_tag<&rows::sample>, row_tag<&rows::label>,
                           row_tag<&rows::partner_label>, row_tag<&rows::mixing>, row_tag<&rows::weight>,
                           row_tag<&rows::sign>, row_tag<&rows::group>, row_tag<&rows::key>, row_tag<&rows::rate>>;

/// Calls `f(tag, place)` for every tag in order, with the place in the list as a constant. On the host.
template <class F> constexpr void for_each_tag(F const& f) {
    [&]<class... Tags, std::size_t... At>(type_list<Tags...>, std::index_sequence<At...>) {
        (f(Tags{}, std::integral_constant<std::size_t, At>{}), ...);
    }(row_tags{}, std::make_index_sequence<row_tags::size>{});
}

namespace detail {

template <class... Tags> ESPALIER_FN constexpr void skip_rows(rows& batch, index_t n, type_list<Tags...>) {
    ((batch.*Tags::array ? void(batch.*Tags::array += n) : void()), ...);
}

} // namespace detail

ESPALIER_FN constexpr rows rows::slice(index_t from, index_t n) const {
    rows part = *this;
    part.count = n;
    part.copies = 1;
    part.first = first + static_cast<std::uint32_t>(from);
    detail::skip_rows(part, from, row_tags{});
    return part;
}

/// Labels of one row, 0 without any. -1 says that a label is unknown: of two mixed samples the one with a label stands
/// for both.
struct row_labels {
    std::int32_t label = 0;
    std::int32_t partner_label = 0;
    float mixing = 1.0f;
};

/// What the tags say of the labels of row i: 0 where there are none.
ESPALIER_FN constexpr row_labels labels_of(rows const& batch, index_t i) {
    row_labels r;
    if (!batch.label) return r;
    r.label = r.partner_label = batch.label[i];
    if (batch.partner_label) {
        r.partner_label = batch.partner_label[i];
        r.mixing = batch.mixing_of(i);
        if (r.label == -1 || r.partner_label == -1) {
            r.label = r.partner_label = r.label == -1 ? r.partner_label : r.label;
            r.mixing = 1.0f;
        }
    }
    return r;
}

} // namespace espalier
