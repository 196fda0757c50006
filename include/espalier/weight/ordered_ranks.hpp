// SPDX-License-Identifier: Apache-2.0
// host only. Ordered dropout over ranks: single steps see a layer with its first ranks alone, which puts them in order.
#pragma once

#include <espalier/core/kept_time.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/parameters.hpp>

#include <cstdint>
#include <vector>

namespace espalier::weight {

/// Which layers a step sees with fewer ranks.
enum class rank_draw {
    one_layer,   ///< one of all pairs (layer, 1 ... its rank), each once before any comes again
    every_layer, ///< all, each with a rank drawn for itself
};

/// Draws ranks for single steps: a decision (train/step_decision.hpp) over all layers with weight::low_rank whose rank
/// is a `schedule::runtime`. With one_layer a step draws a pair (layer l, rank b in 1 ... r_l), so that a layer's
/// chance is in proportion to its rank r_l, and evaluates l with b ranks and the others with all that they have
/// (Maestro, Horvath et al. 2024). The pairs come in an order without repetition, and in another one when all were
/// there; a new epoch begins anew, as after a cut of ranks. With every_layer each layer draws b_l from 1 ... r_l. Ranks
/// are drawn as integers. Layers that share a run-time value are one layer. Nothing is drawn while all ranks are 0.
///
///     fit(net, loss, optimizer, train, {.decide = weight::ordered_ranks(net)});
///
/// What is drawn depends on the seed, the step, the step with which the epoch began, and the ranks alone. Costs
/// one pass over the pairs, sum_l r_l numbers, at the beginning of each of their orders; allocates when it is made.
class ordered_ranks {
public:
    /// Throws data_error when there is no such layer.
    template <class Network>
    explicit ordered_ranks(Network const&, rank_draw draws = rank_draw::one_layer)
        : ordered_ranks(report_of<typename Network::stack>().operators, draws) {
        static_assert(espalier::detail::check_network<Network>());
    }
    ordered_ranks(std::vector<operator_info> const& operators, rank_draw draws);

    void operator()(kept_time& now, random_site const& bits);

private:
    struct layer {
        short_name name;
        index_t (*at)(clock const&);
        index_t rank;
    };

    rank_draw draws_;
    std::vector<layer> layers_;
    std::vector<std::int64_t> order_; ///< of the pairs, as many as there are
    random_site ordered_at_{};
    index_t ordered_ = 0; ///< pairs of that order; 0: none yet
};

} // namespace espalier::weight

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/weight/detail/ordered_ranks.hpp>
#endif
