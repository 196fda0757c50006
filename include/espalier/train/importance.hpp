// SPDX-License-Identifier: Apache-2.0
// host only. How much each weight matters to a task: the diagonal of the Fisher information.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/data/table.hpp>
#include <espalier/network/parameters.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/training.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace espalier {

/// F <- sum_n s_n (d loss(x_n, y_n) / d w)^2 / sum_n s_n for every weight of the tensors that have a companion of that
/// name, which becomes F. With a loss that is the negative logarithm of a likelihood, `loss::cross_entropy`, this is
/// the diagonal of the empirical Fisher information: at the labels of the data, not at ones drawn from the network
/// (Kirkpatrick et al. 2017, section 2; Kunstner et al. 2019 on the difference). s_n is the weight of row n; rows of
/// weight 0 are no part of it.
///
/// The gradients are those of training, one row at a time: with dropout, each row by factors of its own, and with the
/// terms of gates and activation penalties. Weights, moments and time stay. Throws as `evaluate` does, data_error also
/// when no tensor has such a companion or all weights are 0, numerical_error for a gradient that is not finite, all
/// with nothing changed. One forward and backward a row. Allocates the memory of a training, and a double for each
/// parameter.
template <class Network, class Loss>
void estimate_importance(Network& net, Loss const& loss, data_view const& data,
                         std::string_view companion = "importance") {
    static_assert(detail::check_network<Network>());
    static_assert(Network::device_type::host_memory,
                  "espalier: estimate_importance adds up in host memory; run it on device::cpu and hand the numbers to "
                  "set_companion, or save and load them");
    static_assert(Network::size.learned_state + Network::size.scattered_state == 0,
                  "espalier: estimate_importance takes the gradient of one row at a time, and a batch_norm or a search "
                  "of a gate in this stack learns from all rows of a batch; compute the importance in the program and "
                  "hand it to set_companion");
    using scalar = typename Network::scalar;
    using wide = typename Network::wide;
    auto const& tensors = Network::tensors();
    std::vector<std::size_t> const places = detail::companions_named(tensors, companion);
    detail::check_fit_data(data, "estimate_importance", detail::needs_of<Network, Loss>());
    struct still {
        no_step at(clock const&, std::uint64_t) const { return {}; }
        void validate() const {}
    };
    training<Network, Loss, still> run(net, loss, still{}, data.count());
    batches<scalar> rows(data, 1, net.random_seed());
    std::vector<double> squares(static_cast<std::size_t>(Network::size.parameters));
    double weights = 0.0;
    for (index_t n = 0; n < rows.count(); ++n) {
        auto batch = rows[n];
        if (!batch.tags.counts(0)) continue;
        batch.tags.first = static_cast<std::uint32_t>(n);
        double const weight = batch.tags.weight_of(0);
        batch.tags.weight = nullptr;
        run.gradients_of(batch);
        weights += weight;
        wide const* const g = run.gradients().data();
        for (std::size_t i = 0; i < squares.size(); ++i)
            squares[i] += weight * static_cast<double>(g[i]) * static_cast<double>(g[i]);
    }
    if (!(weights > 0.0)) detail::throw_data_error("estimate_importance: the weights of all rows are 0");
    for (std::size_t i = 0; i < squares.size(); ++i)
        if (!std::isfinite(static_cast<double>(static_cast<wide>(squares[i] / weights))))
            detail::throw_numerical_error("estimate_importance: a square of the gradients of the rows is not finite");
    for (std::size_t const place : places) {
        tensor_info const& t = tensors[place];
        auto const first = squares.begin() + tensors[static_cast<std::size_t>(t.of)].offset;
        wide* const to = net.values().view(t).data;
        for (index_t i = 0; i < t.size(); ++i)
            to[i] = static_cast<wide>(first[i] / weights);
        net.values().given()[place] = true;
    }
}

} // namespace espalier
