// SPDX-License-Identifier: Apache-2.0
// host only. Analytic gradients held against central differences, for networks, layers and policies; in double.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/text.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace espalier {

/// What a gradient check found. `worst` is the largest |analytic - numeric| / (|analytic| + |numeric| + scale), where
/// scale is a hundredth of the tensor's mean absolute gradient, so that tiny entries do not decide.
struct gradient_report {
    double worst = 0.0;
    std::string where; ///< tensor and element of the worst entry
    double analytic = 0.0;
    double numeric = 0.0;
    index_t checked = 0;
    index_t skipped = 0; ///< near a kink: two step sizes disagree there

    bool ok(double tolerance = 1e-6) const { return checked > 0 && worst <= tolerance; }
    /// One line, with its end.
    std::string text() const {
        return detail::text_of("worst error ", worst, " at ", where, ": analytic ", analytic, ", numeric ", numeric,
                               "; ", checked, " checked, ", skipped, " skipped near kinks\n");
    }
};

/// What is compared with central differences, and how finely.
struct gradient_check_options {
    double step = 1e-5;
    index_t elements = 40; ///< at most this many of a tensor, spread over it
    bool inputs = true;
};

namespace detail {

/// The stream of the data that a check makes up: none of a network's, which count from 0, or of `fit`'s.
inline constexpr std::uint64_t check_stream = ~std::uint64_t{0} - 4;

/// Central difference of value() in *x with two step sizes; NaN where they disagree (a kink lies between).
template <class Value> double central_difference(double* x, double step, Value const& value) {
    double const old = *x;
    auto const slope = [&](double h) {
        *x = old + h;
        double const above = value();
        *x = old - h;
        double const below = value();
        *x = old;
        return (above - below) / (2.0 * h);
    };
    double const coarse = slope(step);
    double const fine = slope(step / 4.0);
    double const gap = std::abs(coarse - fine);
    if (gap > 1e-3 * (std::abs(coarse) + std::abs(fine)) + 1e-7) return std::nan("");
    return (16.0 * fine - coarse) / 15.0; // Richardson: the error term of order h^2 cancels
}

template <class Value>
void check_array(gradient_report& report, std::string const& name, double* values, double const* gradients, index_t n,
                 gradient_check_options const& options, Value const& value) {
    double mean = 0.0;
    for (index_t i = 0; i < n; ++i)
        mean += std::abs(gradients[i]);
    double const scale = n > 0 ? 1e-2 * mean / static_cast<double>(n) + 1e-12 : 1e-12;
    index_t const every = std::max<index_t>(1, n / options.elements);
    for (index_t i = 0; i < n; i += every) {
        double const numeric = central_difference(values + i, options.step, value);
        if (std::isnan(numeric)) {
            ++report.skipped;
            continue;
        }
        ++report.checked;
        double const error = std::abs(gradients[i] - numeric) / (std::abs(gradients[i]) + std::abs(numeric) + scale);
        if (!(error <= report.worst)) {
            report.worst = error;
            report.where = name + "[" + std::to_string(i) + "]";
            report.analytic = gradients[i];
            report.numeric = numeric;
        }
    }
}

} // namespace detail

/// Holds every tensor's gradient (and the inputs') of a training in double against central differences on one batch.
/// Weights and inputs are as before afterwards. `inputs` is the memory of the batch's inputs, which the check varies.
/// `gradients_of` gives gradients of what products read: behind a weight map those of raw weights, and of numbers that
/// the map is made of, are the update's to find, and not for this check.
template <class Training>
requires std::is_same_v<typename Training::scalar, double>
    gradient_report check_gradients(Training& training, matrix_view<double> inputs, rows const& tags,
                                    matrix_view<double const> targets = {}, gradient_check_options options = {}) {
    batch_view<double> const batch{inputs, tags, targets};
    gradient_report report;
    auto const value = [&] {
        training.net().refresh();
        return training.objective(batch);
    };
    training.net().refresh();
    training.gradients_of(batch);
    std::vector<double> const gradients(training.gradients().data(),
                                        training.gradients().data() + training.gradients().size());
    for (tensor_info const& t : training.net().tensors())
        if (t.trained && t.tensor_role != role::scalar)
            detail::check_array(report, t.name, training.net().values().view(t).data, gradients.data() + t.offset,
                                t.size(), options, value);
    if (options.inputs) {
        std::vector<double> dx(static_cast<std::size_t>(inputs.rows * inputs.columns));
        training.input_gradients_of(batch, contiguous_view(dx.data(), inputs.rows, inputs.columns));
        detail::check_array(report, "input", inputs.data, dx.data(), inputs.rows * inputs.columns, options, value);
    }
    training.net().refresh();
    return report;
}

/// Draws a batch of standard normal inputs and cyclic labels and checks the gradients of a stack on it: the one-line
/// check for a layer or policy of one's own, `check_gradients<sequence<input<7>, dense<5, my_activation>>>(loss)`.
template <class Stack, class Device, class Loss>
gradient_report check_gradients_of(Loss const& loss, seed s = {7}, index_t row_count = 9,
                                   gradient_check_options options = {}) {
    network<Stack, Device, double> net(s, row_count);
    struct none {
        no_step at(clock const&, std::uint64_t) const { return {}; }
        void validate() const {}
    };
    training<network<Stack, Device, double>, Loss, none> check(net, loss, none{}, row_count);
    index_t const width = net.input_width;
    std::vector<double> inputs(static_cast<std::size_t>(row_count * width));
    std::vector<std::int32_t> labels(static_cast<std::size_t>(row_count));
    std::vector<double> targets(static_cast<std::size_t>(row_count * net.output_width));
    auto uniform = [&, i = std::uint32_t{0}]() mutable {
        return 2.0 * uniform01(draw(make_site(s.value, detail::check_stream), i++, 0).word[0]) - 1.0;
    };
    for (double& v : inputs)
        v = 2.0 * uniform();
    for (std::size_t i = 0; i < labels.size(); ++i)
        labels[i] = static_cast<std::int32_t>(i % static_cast<std::size_t>(net.output_width));
    for (double& v : targets)
        v = 0.5 + 0.5 * uniform();
    // Offsets away from zero, so that no activation sits on a kink by construction.
    for (tensor_info const& t : net.tensors())
        if (t.trained && t.tensor_role == role::bias)
            for (index_t i = 0; i < t.size(); ++i)
                net.values().view(t).data[i] += 0.1 * uniform();
    for (std::size_t i = 0; i < net.values().given().size(); ++i)
        if (tensor_info const& t = net.tensors()[i]; t.fixed) {
            for (index_t j = 0; j < t.size(); ++j)
                net.values().view(t).data[j] = uniform();
            net.values().given()[i] = true;
        }
    rows tags;
    tags.count = row_count;
    tags.label = labels.data();
    return check_gradients(check, contiguous_view(inputs.data(), row_count, width), tags,
                           contiguous_view<double const>(targets.data(), row_count, net.output_width), options);
}

} // namespace espalier
