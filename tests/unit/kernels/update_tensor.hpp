// SPDX-License-Identifier: Apache-2.0
// One tensor with everything an update reads and writes, the bodies of the update run on it, and a weight map of one's
// own.
#pragma once

#include "launches.hpp"

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/norms.hpp>
#include <espalier/kernels/update.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kernel_tests {

// A map whose products read something else than the stored weights.
struct doubled {
    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = true;
    template <class T> ESPALIER_FN static T pull(T g, espalier::element_about<T> const& about) {
        using espalier::select;
        return select(about.keep, g, g * T(espalier::scalar_of<T>(0.5)));
    }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw, espalier::element_about<T> const& about) {
        using espalier::select;
        return select(about.keep, raw + raw, T(espalier::scalar_of<T>(0)));
    }
};

// The memory of one tensor, and what an update leaves in it.
template <class W, class N = W> struct tensor {
    index_t rows, columns, stride;
    std::vector<W> weights, gradients, reference, moments, companions;
    std::vector<N> operands;
    std::vector<std::uint32_t> mask;
    std::vector<W> norms[2], next[2];
    std::vector<double> values;
    std::vector<W> scalars, scalar_gradients; // two, a padded element apart

    tensor(index_t r, index_t c)
        : rows(r), columns(c), stride(espalier::padded(r * c) + 32), weights(numbers<W>(r * c, 1)),
          gradients(numbers<W>(r * c, 2)), reference(numbers<W>(r * c, 3)), moments(numbers<W>(2 * stride, 4)),
          companions(numbers<W>(2 * stride, 7)), operands(static_cast<std::size_t>(r * c)), values(4, 0.25),
          scalars(static_cast<std::size_t>(espalier::padded(1) + 1), W(-0.4)), scalar_gradients(scalars.size(), W(-9)) {
        scalars.back() = W(0.3);
        for (W& m : moments)
            m = m * m; // second moments are not negative
        for (index_t i = 0; i < (r * c + 31) / 32 + 1; ++i)
            mask.push_back(2654435761u * static_cast<std::uint32_t>(i + 3));
        for (int g = 0; g < 2; ++g) {
            index_t const n = r > c ? r : c; // for groups in either direction
            for (W v : numbers<W>(n, 6))
                norms[g].push_back(v * v);
            next[g].assign(static_cast<std::size_t>(n), W(0.5));
            if (n > 1) norms[g][1] = W(0);
        }
    }
    espalier::update_segment<W, N> segment() {
        espalier::update_segment<W, N> s;
        s.rows = rows;
        s.columns = columns;
        s.weights = weights.data();
        s.gradients = gradients.data();
        s.reference = reference.data();
        s.moments = moments.data();
        s.moment_stride = stride;
        s.companions = companions.data();
        s.companion_stride = stride;
        s.operands = operands.data();
        s.mask = mask.data();
        for (int g = 0; g < 2; ++g) {
            s.norms[g] = norms[g].data();
            s.next_norms[g] = next[g].data();
        }
        s.values = values.data();
        s.scalars = scalars.data();
        s.scalar_gradients = scalar_gradients.data();
        s.site = espalier::make_site(5, 6, 7, 0);
        s.rates = {0.8, 0.9, false};
        return s;
    }
    bool same(tensor const& o) const {
        return same_bits(weights, o.weights) && same_bits(moments, o.moments) && same_bits(operands, o.operands) &&
               same_bits(next[0], o.next[0]) && same_bits(next[1], o.next[1]) && same_bits(values, o.values) &&
               same_bits(scalar_gradients, o.scalar_gradients);
    }
};

template <class W, class N, class Launch, class Optimizer, class Rule>
void run_update(Launch const& launch, Optimizer const& optimizer, Rule const& rule, tensor<W, N>& t,
                espalier::kernels::update_context const& context = {}) {
    namespace k = espalier::kernels;
    auto const s = t.segment();
    auto const strips = k::strips_of(t.rows).count;
    auto const octets = k::octets_of(t.columns);
    constexpr int scalars = espalier::detail::moved_scalars<Optimizer, Rule>;
    std::vector<double> of_scalars;
    auto const add_scalars = [&](index_t parts) {
        for (int i = 0; i < scalars; ++i)
            launch([&](auto const& group) {
                k::sum_numbers(group, of_scalars.data() + i * parts, parts,
                               s.scalar_gradients + i * espalier::padded(1), false);
            });
    };
    if constexpr (Rule::grouped) {
        std::vector<W> columns(static_cast<std::size_t>(strips * octets * 8), W(-9)),
            row_sums(static_cast<std::size_t>(t.rows * octets), W(-9));
        std::vector<double> values(static_cast<std::size_t>((Rule::penalty_count + 1) * strips * octets), -9.0);
        of_scalars.assign(static_cast<std::size_t>(scalars * strips * octets), -9.0);
        k::group_scratch<W> const scratch{columns.data(), row_sums.data(), values.data(), of_scalars.data()};
        launch([&](auto const& group) { k::update_grouped(group, optimizer, rule, s, context, scratch); });
        for (int g = 0; g < Rule::group_sets; ++g)
            if (Rule::scope(g) == espalier::group_scope::tensor) {
                std::vector<W> squares(static_cast<std::size_t>(t.columns), W(-9));
                launch([&](auto const& group) {
                    k::add_partial_rows(group, columns.data(), strips, octets * 8, t.columns, squares.data(), false,
                                        context.error);
                });
                launch([&](auto const& group) {
                    k::add_row_sums(group, squares.data(), 1, t.columns, s.next_norms[g], context.error);
                });
            } else if (Rule::scope(g) == espalier::group_scope::columns)
                launch([&](auto const& group) {
                    k::add_partial_rows(group, columns.data(), strips, octets * 8, t.columns, s.next_norms[g], true,
                                        context.error);
                });
            else
                launch([&](auto const& group) {
                    k::add_row_sums(group, row_sums.data(), t.rows, octets, s.next_norms[g], context.error);
                });
        launch([&](auto const& group) {
            k::add_penalty_values(group, values.data(), Rule::penalty_count, strips * octets, strips * octets, s.values,
                                  context.error);
        });
        add_scalars(strips * octets);
    } else {
        index_t const chunks = k::update_chunks(t.rows * t.columns);
        std::vector<double> values(static_cast<std::size_t>((Rule::penalty_count + 1) * chunks), -9.0);
        of_scalars.assign(static_cast<std::size_t>(scalars * chunks), -9.0);
        launch([&](auto const& group) {
            k::update_tensor(group, optimizer, rule, s, context, values.data(), of_scalars.data());
        });
        launch([&](auto const& group) {
            k::add_penalty_values(group, values.data(), Rule::penalty_count, chunks, chunks, s.values, context.error);
        });
        add_scalars(chunks);
    }
}

} // namespace kernel_tests
