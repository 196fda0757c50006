// SPDX-License-Identifier: Apache-2.0
// host only. One call that says whether a batch policy of one's own keeps its contract.
#pragma once

#include <espalier/batch/concept.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/view.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace espalier {
namespace detail {

/// A batch with room for more rows than it has.
template <class T> struct batch_trial {
    static constexpr index_t rows = 7, capacity = 9, classes = 4;
    shape of_row;
    std::vector<T> source, inputs;
    std::vector<master_of<T>> targets, weight;
    std::vector<float> mixing;
    std::vector<std::int32_t> label, partner_label;
    std::vector<std::int64_t> sample;

    explicit batch_trial(shape row_shape) : of_row(row_shape) {
        auto const size = static_cast<std::size_t>(capacity * of_row.size());
        inputs.assign(size, std::numeric_limits<T>::quiet_NaN());
        for (std::size_t i = 0; i < size; ++i)
            source.push_back(static_cast<T>(check_number(i, 9)));
        for (std::size_t i = 0; i < static_cast<std::size_t>(capacity); ++i) {
            label.push_back(static_cast<std::int32_t>(i % static_cast<std::size_t>(classes)));
            sample.push_back(static_cast<std::int64_t>(10 + i));
            for (int c = 0; c < 2; ++c)
                targets.push_back(static_cast<master_of<T>>(check_number(2 * i + static_cast<std::size_t>(c), 10)));
        }
        partner_label = label;
        mixing.assign(static_cast<std::size_t>(capacity), 1.0f);
        weight.assign(static_cast<std::size_t>(capacity), master_of<T>(1));
    }
    template <class Batch> void apply(Batch const& policy, std::uint64_t step) {
        batch::batch_memory<T> memory;
        memory.source = contiguous_view(source.data(), capacity, of_row.size());
        memory.inputs = contiguous_view(inputs.data(), capacity, of_row.size());
        memory.targets = contiguous_view(targets.data(), capacity, 2);
        memory.label = label.data();
        memory.partner_label = partner_label.data();
        memory.mixing = mixing.data();
        memory.weight = weight.data();
        memory.sample = sample.data();
        clock now;
        now.step = step;
        policy.apply(memory, rows, of_row, now, make_site(5, check_stream, step));
    }
};

template <class T, class Batch> void check_batch_rows(policy_checker& to, Batch const& policy, shape of_row) {
    using trial_type = batch_trial<T>;
    auto written = to.over("the inputs of every row are written, from finite sources");
    auto alone = to.over("the sources and rows beyond the batch are left alone");
    auto tags = to.over("tags make sense");
    auto pure = to.over("the same site gives the same batch");
    for (std::uint64_t step = 0; step < 8; ++step) {
        trial_type const before(of_row);
        trial_type given = before, again = before;
        given.apply(policy, step);
        again.apply(policy, step);
        std::string const at = "step " + std::to_string(step) + ", row ";
        auto const end = static_cast<std::size_t>(trial_type::rows * of_row.size());
        for (std::size_t i = 0; i < given.inputs.size(); ++i) {
            std::string const place = at + std::to_string(static_cast<index_t>(i) / of_row.size());
            double const x = static_cast<double>(given.inputs[i]);
            if (i < end) {
                written.require(std::isfinite(x), place, "given " + number_text(x));
                pure.compare(place, static_cast<double>(again.inputs[i]), x, 0.0);
            } else {
                alone.require(std::isnan(x), place + " of 7", "an input was written");
            }
            alone.compare(place, static_cast<double>(given.source[i]), static_cast<double>(before.source[i]), 0.0);
        }
        for (std::size_t r = 0; r < static_cast<std::size_t>(trial_type::capacity); ++r) {
            std::string const place = at + std::to_string(r);
            if (r >= static_cast<std::size_t>(trial_type::rows)) {
                alone.require(given.label[r] == before.label[r] && given.partner_label[r] == before.partner_label[r] &&
                                  given.mixing[r] == 1.0f && given.weight[r] == 1.0f,
                              place + " of 7", "its tags have changed");
                continue;
            }
            tags.require(given.mixing[r] >= 0.0f && given.mixing[r] <= 1.0f, place,
                         "mixing is " + text_of(static_cast<double>(given.mixing[r])));
            tags.require(std::isfinite(given.weight[r]), place,
                         "weight is " + text_of(static_cast<double>(given.weight[r])));
            for (std::int32_t const label : {given.label[r], given.partner_label[r]})
                tags.require(label >= -1 && label < trial_type::classes, place,
                             "a label is " + std::to_string(label) + ", those of the data are 0 to 3");
            pure.compare(place + ", mixing", static_cast<double>(again.mixing[r]), static_cast<double>(given.mixing[r]),
                         0.0);
            if constexpr (requires { requires !Batch::mixes; })
                tags.require(given.partner_label[r] == given.label[r] && given.mixing[r] == 1.0f, place,
                             "partner_label or mixing has changed, and `mixes` is false");
        }
    }
}

} // namespace detail

/// Checks a batch policy on its own, on 7 rows of shape `of_row` in a memory for 9, at eight steps, in float and
/// double: every input is written and finite, sources and rows beyond the batch stay, shares, weights and labels make
/// sense, the same site gives the same batch.
///
///     auto const report = check_batch(my_batch{.alpha = 0.2});
///     if (!report.ok()) std::fputs(report.text.c_str(), stdout);
template <class Batch> policy_report check_batch(Batch const& given, shape of_row = {5}) {
    policy_checker to;
    constexpr bool applies = batch::applies_to_batch<Batch, float> && batch::applies_to_batch<Batch, double>;
    static_assert(diagnostic::holds<applies, diagnostic::given_type<Batch>>,
                  "espalier: a batch policy needs `template <class T> void apply(batch_memory<T>& batch, index_t n, "
                  "shape of_row, clock const& now, random_site const& site) const`; the next lines name the type");
    if constexpr (applies) {
        to.report.text = "a batch policy\n";
        if constexpr (requires { given.validate(); })
            if (!to.accepts(given)) return to.report;
        detail::check_batch_rows<float>(to, given, of_row);
        detail::check_batch_rows<double>(to, given, of_row);
    }
    return to.report;
}

} // namespace espalier
