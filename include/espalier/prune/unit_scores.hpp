// SPDX-License-Identifier: Apache-2.0
// host only. What the units of a layer are worth, by the weights that go in and out.
#pragma once

#include <espalier/core/element_about.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/text.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>

#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace espalier::prune {

/// A tensor by name, and on which side of it the units are. A kernel has a row for each input and a column for each
/// output, and an embedding's table a column for each of its numbers: `{"1.kernel", over::columns}` are the weights
/// that go into the units of layer 1, `{"2.kernel", over::rows}` those that come from them.
struct unit_tensor {
    std::string name;
    over units = over::columns;
};

template <class Score>
concept score_of_numbers = requires(Score const& score, std::span<double const> v) {
    { score(v) } -> std::convertible_to<double>;
};

namespace detail {

/// The tensors of those names. Throws as `unit_scores` does.
std::vector<tensor_info const*> tensors_of_units(std::vector<tensor_info> const& known,
                                                 std::vector<unit_tensor> const& asked);

} // namespace detail

/// score_k = the mean, over the tensors, of `score` of the numbers of unit k there. What `keep_highest` and
/// `keep_lowest` (prune/keep_flags.hpp) make a mask of, for `set_units` and `compact`:
///
///     auto const scores = prune::unit_scores(net, {{"1.kernel", over::columns}, {"2.kernel", over::rows}},
///                                            prune::inverse_participation{});
///     set_units(net, "1", prune::keep_highest(scores, 32));
///
/// A copy of each tensor to the host and a call of `score` for each unit in each. Throws data_error for no tensors, one
/// that the network lacks or a side that is not rows or columns, shape_error when they are of different numbers of
/// units, numerical_error for a score that is no number, and what `score` throws.
template <class Network, score_of_numbers Score>
std::vector<double> unit_scores(Network const& net, std::vector<unit_tensor> const& tensors, Score const& score) {
    static_assert(espalier::detail::check_network<Network>());
    auto const found = detail::tensors_of_units(Network::tensors(), tensors);
    std::vector<double> scores, numbers;
    for (std::size_t i = 0; i < found.size(); ++i) {
        tensor_info const& t = *found[i];
        auto const weights = espalier::detail::numbers_of(net, t);
        bool const in_rows = tensors[i].units == over::rows;
        index_t const units = in_rows ? t.rows : t.columns, length = in_rows ? t.columns : t.rows;
        scores.resize(static_cast<std::size_t>(units));
        numbers.resize(static_cast<std::size_t>(length));
        for (index_t k = 0; k < units; ++k) {
            for (index_t j = 0; j < length; ++j)
                numbers[static_cast<std::size_t>(j)] = static_cast<double>(
                    weights[static_cast<std::size_t>(in_rows ? k * t.columns + j : j * t.columns + k)]);
            double const of_tensor = score(std::span<double const>(numbers));
            if (std::isnan(of_tensor))
                espalier::detail::throw_numerical_error("prune::unit_scores: the score of unit ", k, " by ", t.name,
                                                        " is no number");
            scores[static_cast<std::size_t>(k)] += of_tensor / static_cast<double>(found.size());
        }
    }
    return scores;
}

} // namespace espalier::prune

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/prune/detail/unit_scores.hpp>
#endif
