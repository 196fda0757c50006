// SPDX-License-Identifier: Apache-2.0
// host only. The ranks of the layers with weight::low_rank as numbers of a network: read, set, cut by importance, and
// factors that are found from a kernel.
#pragma once

#include <espalier/core/library.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/math/svd.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>
#include <espalier/network/parameters.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace espalier::weight {

/// The rank of a layer with weight::low_rank.
struct layer_rank {
    std::string layer; ///< its path, "1"
    index_t inputs = 0;
    index_t outputs = 0;
    index_t most = 0; ///< the largest rank
    index_t rank = 0; ///< the one of now

    /// Trained numbers of the factors up to that rank, and whether the kernel that they make has fewer: then it is
    /// better multiplied out (`bake`).
    index_t size() const { return rank * (inputs + outputs); }
    bool better_dense() const { return size() > inputs * outputs; }
};

/// What makes a rank worth keeping: with v_k the norm of column k of "factor_in" and u_k that of row k of "factor_out",
/// and p_k, q_k those of the columns and rows k, k + 1, ... together.
enum class importance {
    nested, ///< p_k q_k, which never rises with k: what is kept is a beginning
    single, ///< v_k u_k
};

namespace detail {

/// The operator of that layer. Throws data_error when it has none whose rank may change, and lists those that do.
operator_info const& ranked_layer(std::vector<operator_info> const& operators, std::string_view layer);
/// The same, but for data_error when the rank is no run-time value.
operator_info const& set_layer(std::vector<operator_info> const& operators, std::string_view layer);
/// Importance of each rank, from the squares of norms of columns and rows, which become what they will.
std::vector<double> importance_of(importance kind, std::vector<double> in, std::vector<double> out);
/// How many ranks stay. Of single ones all up to the last that reaches the threshold.
index_t kept_ranks(std::vector<double> const& importance, double threshold);
/// Throws data_error.
void check_threshold(double threshold);

template <class Network> tensor_info const& factor_of(operator_info const& o, std::string_view which) {
    return espalier::detail::tensor_named(Network::tensors(), o.layer + std::string(which));
}

} // namespace detail

/// All layers with weight::low_rank, as they stand at the network's time.
template <class Network> std::vector<layer_rank> ranks(Network const& net) {
    static_assert(espalier::detail::check_network<Network>());
    std::vector<layer_rank> all;
    for (operator_info const& o : report_of<typename Network::stack>().operators)
        if (o.rank.most > 0) all.push_back({o.layer, o.rows, o.columns, o.rank.most, o.rank.at(net.time())});
    return all;
}

/// The rank of a layer from now on, and that of all layers whose rank is the run-time value of the same name. What is
/// left out keeps its numbers. Throws data_error, with nothing changed, for a layer whose rank is no
/// `schedule::runtime` and a rank below 0 or above the largest one.
template <class Network> void set_rank(Network& net, std::string_view layer, index_t rank) {
    static_assert(espalier::detail::check_network<Network>());
    net.set_value(detail::set_layer(report_of<typename Network::stack>().operators, layer).rank.name,
                  static_cast<double>(rank));
}

/// Of the ranks that a layer has now, in their order. Reads the factors, on a GPU through the host. Throws data_error
/// when the layer has none.
template <class Network>
std::vector<double> rank_importance(Network const& net, std::string_view layer, importance kind = importance::nested) {
    static_assert(espalier::detail::check_network<Network>());
    operator_info const& o = detail::ranked_layer(report_of<typename Network::stack>().operators, layer);
    auto const count = static_cast<std::size_t>(o.rank.at(net.time())), most = static_cast<std::size_t>(o.rank.most);
    auto const in = espalier::detail::numbers_of(net, detail::factor_of<Network>(o, ".factor_in"));
    auto const out = espalier::detail::numbers_of(net, detail::factor_of<Network>(o, ".factor_out"));
    auto const inputs = static_cast<std::size_t>(o.rows), outputs = static_cast<std::size_t>(o.columns);
    std::vector<double> first(count), second(count);
    auto const square = [](auto x) { return static_cast<double>(x) * static_cast<double>(x); };
    for (std::size_t k = 0; k < count; ++k) {
        for (std::size_t i = 0; i < inputs; ++i)
            first[k] += square(in[i * most + k]);
        for (std::size_t j = 0; j < outputs; ++j)
            second[k] += square(out[k * outputs + j]);
    }
    return detail::importance_of(kind, std::move(first), std::move(second));
}

/// Cuts every layer whose rank is a `schedule::runtime` to the ranks of importance `threshold` or more (Maestro,
/// Horvath et al. 2024, progressive shrinking), for the end of an epoch:
///
///     fit(net, loss, optimizer, train, {.on_epoch = [&](auto&, auto&) { shrink_ranks(net, 1e-3); return true; },
///                                       .decide = ordered_ranks(net)});
///
/// Nested importances keep a beginning, because they never rise; of single ones all ranks up to the last that reaches
/// the threshold stay. Layers that share a value keep what any of them needs. Ranks never come back by this; a layer of
/// rank 0 gives its bias. Returns how many ranks went. Throws data_error, with nothing changed, for a threshold that is
/// negative or not finite.
template <class Network> index_t shrink_ranks(Network& net, double threshold, importance kind = importance::nested) {
    static_assert(espalier::detail::check_network<Network>());
    detail::check_threshold(threshold);
    auto const& operators = report_of<typename Network::stack>().operators;
    index_t gone = 0;
    for (operator_info const& o : operators) {
        if (o.rank.name.empty()) continue;
        index_t const before = o.rank.at(net.time());
        index_t kept = 0;
        for (operator_info const& other : operators)
            if (other.rank.name == o.rank.name)
                kept = std::max(kept, detail::kept_ranks(rank_importance(net, other.layer, kind), threshold));
        if (kept >= before) continue;
        for (operator_info const& other : operators)
            gone += other.rank.name == o.rank.name ? before - kept : 0;
        net.set_value(o.rank.name, static_cast<double>(kept));
    }
    return gone;
}

/// Takes `by` ranks from one layer, that without which `cost()` is least, without training: called again and again it
/// gives smaller and smaller networks of one that was trained with ordered ranks. `cost` looks at the network as it is
/// then, the loss on validation data say, once for each layer whose rank is a `schedule::runtime` and has as many
/// ranks; layers that share a value are one. Of equal ones the first. Returns the cost that is left. Throws data_error
/// when no layer has as many ranks, numerical_error when no cost is a finite number, and what `cost` throws: the ranks
/// are those of before.
template <class Network, class Cost> double cut_cheapest(Network& net, index_t by, Cost const& cost) {
    static_assert(espalier::detail::check_network<Network>());
    auto const& operators = report_of<typename Network::stack>().operators;
    double least = std::numeric_limits<double>::infinity();
    rank_info const* chosen = nullptr;
    bool any = false;
    for (operator_info const& o : operators) {
        auto const shares = [&](operator_info const& other) { return other.rank.name == o.rank.name; };
        if (o.rank.name.empty() || &*std::find_if(operators.begin(), operators.end(), shares) != &o) continue;
        index_t const before = o.rank.at(net.time());
        if (by < 1 || before < by) continue;
        any = true;
        auto const set = [&](index_t rank) { net.set_value(o.rank.name, static_cast<double>(rank)); };
        set(before - by);
        double left = 0.0;
        try {
            left = cost();
        } catch (...) {
            set(before);
            throw;
        }
        set(before);
        if (left < least) {
            least = left;
            chosen = &o.rank;
        }
    }
    if (!any) espalier::detail::throw_data_error("cut_cheapest: no layer has ", by, " ranks to take");
    if (!chosen) espalier::detail::throw_numerical_error("cut_cheapest: no cost is a finite number");
    net.set_value(chosen->name, static_cast<double>(chosen->at(net.time()) - by));
    return least;
}

/// Makes the factors of a layer those of the best approximation of `kernel`, in x out, by its largest rank: with
/// kernel = P S Q^T "factor_in" is P sqrt(S) and "factor_out" sqrt(S) Q^T, whose ranks are in falling order and equally
/// long in both. The rank stays, and so do moments of a training that is under way. What a weight map needs to give
/// such factors is not looked for. Throws, with nothing changed: data_error when the layer has no low_rank, shape_error
/// for other extents, numerical_error for a kernel that is not finite.
template <class Network>
void factorise(Network& net, std::string_view layer, matrix_view<typename Network::wide const> kernel) {
    static_assert(espalier::detail::check_network<Network>());
    using wide = typename Network::wide;
    operator_info const& o = detail::ranked_layer(report_of<typename Network::stack>().operators, layer);
    if (kernel.rows != o.rows || kernel.columns != o.columns)
        espalier::detail::throw_shape_error("factorise: layer ", layer, " has a kernel of ", o.rows, " x ", o.columns,
                                            ", given are ", kernel.rows, " x ", kernel.columns);
    std::vector<double> numbers;
    for (index_t r = 0; r < kernel.rows; ++r)
        for (index_t c = 0; c < kernel.columns; ++c)
            numbers.push_back(static_cast<double>(kernel(r, c)));
    math::thin_svd const svd({numbers.data(), o.rows, o.columns, o.columns});
    index_t const most = o.rank.most, known = static_cast<index_t>(svd.values().size());
    std::vector<wide> in(static_cast<std::size_t>(o.rows * most)), out(static_cast<std::size_t>(most * o.columns));
    for (index_t k = 0; k < std::min(most, known); ++k) {
        double const root = std::sqrt(svd.values()[static_cast<std::size_t>(k)]);
        for (index_t r = 0; r < o.rows; ++r)
            in[static_cast<std::size_t>(r * most + k)] = static_cast<wide>(root * svd.left(r, k));
        for (index_t c = 0; c < o.columns; ++c)
            out[static_cast<std::size_t>(k * o.columns + c)] = static_cast<wide>(root * svd.right(c, k));
    }
    espalier::detail::set_numbers(net, detail::factor_of<Network>(o, ".factor_in"), in.data());
    espalier::detail::set_numbers(net, detail::factor_of<Network>(o, ".factor_out"), out.data());
    net.refresh();
}

} // namespace espalier::weight

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/weight/detail/ranks.hpp>
#endif
