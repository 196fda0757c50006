// SPDX-License-Identifier: Apache-2.0
// One launch for several experts, on the emulated block: every group's part has the bits that the body leaves when it
// is run on that group's rows and tensors alone, and what belongs to nobody is not touched.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/activation/gelu.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/kernels/dispatch.hpp>
#include <espalier/kernels/grouped.hpp>
#include <espalier/kernels/passes.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/fixed_mask.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

using namespace kernel_tests;
using namespace espalier;
namespace k = espalier::kernels;

// Four experts: some rows, none, one more than the granule, more than a strip of eight each.
constexpr int groups = 4;
constexpr std::int32_t counts[groups] = {5, 0, 33, 21}, firsts[groups] = {0, 32, 32, 96};
constexpr index_t all_rows_of_groups = 128, most_of_one = 40;

live_groups experts() {
    live_groups live;
    live.count = counts;
    live.first = firsts;
    live.groups = groups;
    live.most_rows = all_rows_of_groups;
    live.parameters = 96;
    live.mask_words = 3;
    live.terms = 2;
    live.streams = 12;
    return live;
}

/// The rows of a group; what kernels are given has the most rows of one group.
template <class View> View of_group(View const& all, int g) {
    return all.middle_rows(firsts[g], counts[g]);
}
template <class View> View given(View const& all) {
    return all.middle_rows(0, most_of_one);
}

constexpr dropout::bernoulli_op quarter{16384, 65536.0 / (65536.0 - 16384.0)};

rows batch_of(std::vector<std::uint32_t> const& origin) {
    rows batch;
    batch.count = most_of_one;
    batch.origin = origin.data();
    return batch;
}
std::vector<std::uint32_t> origins() {
    std::vector<std::uint32_t> origin;
    for (index_t r = 0; r < all_rows_of_groups; ++r)
        origin.push_back(static_cast<std::uint32_t>(700 - 5 * r));
    return origin;
}

template <class T> void check_epilogue(index_t columns, bool with_penalty) {
    using W = master_of<T>;
    CAPTURE(sizeof(T), columns, with_penalty);
    live_groups const live = experts();
    std::vector<std::uint32_t> const origin = origins();
    padded_matrix<T> const z(all_rows_of_groups, columns, 2, 1), dy(all_rows_of_groups, columns, 1, 2);
    auto const run = [&]<class Op>(Op const& op) {
        auto const octets = static_cast<std::size_t>(k::octets_of(columns));
        auto const strips = static_cast<std::size_t>(k::most_strips_of(live, most_of_one));
        for_launches([&](auto const& launch) {
            padded_matrix<T> y(all_rows_of_groups, columns, 3, 3), dz(all_rows_of_groups, columns, 1, 4);
            padded_matrix<T> y_alone = y, dz_alone = dz;
            std::vector<W> bias(static_cast<std::size_t>(groups * live.parameters), W(-5)), bias_alone = bias;
            std::vector<double> terms(groups * 2, -5.0), terms_alone = terms;
            // Guards behind the scratch.
            std::vector<W> partial(strips * octets * 8 + 64, W(-77));
            std::vector<double> elements(strips * octets * Op::penalty_count + 64, -77.0);
            k::epilogue_scratch<W> const scratch{elements.data(), partial.data()};
            epilogue_statistics<W> const statistics{terms.data(), nullptr, 0};
            random_site const site = make_site(3, 8, 5);
            auto const each = [&](auto const& body) {
                for (int g = 0; g < groups; ++g)
                    launch([&](auto const& block) { body(block, g); });
            };
            if constexpr (Op::has_penalties) {
                each([&](auto const& block, int g) {
                    k::grouped::epilogue_forward_strips(block, live, g, op, given(z.view()), given(y.view()), site,
                                                        batch_of(origin), scratch);
                });
                each([&](auto const& block, int g) {
                    k::grouped::epilogue_finish(block, live, g, op, most_of_one, columns, scratch, statistics);
                });
            } else {
                each([&](auto const& block, int g) {
                    k::grouped::epilogue_forward(block, live, g, op, given(z.view()), given(y.view()), site,
                                                 batch_of(origin));
                });
            }
            each([&](auto const& block, int g) {
                k::grouped::epilogue_backward(block, live, g, op, given(z.view()), given(dy.view()), given(dz.view()),
                                              site, batch_of(origin), statistics, partial.data());
            });
            each([&](auto const& block, int g) {
                k::grouped::add_partial_rows(block, live, g, static_cast<W const*>(partial.data()), 0, most_of_one,
                                             columns, bias.data(), false, nullptr);
            });
            for (std::size_t i = 0; i < 64; ++i) {
                REQUIRE(partial[partial.size() - 64 + i] == W(-77));
                REQUIRE(elements[elements.size() - 64 + i] == -77.0);
            }

            for (int g = 0; g < groups; ++g) {
                random_site const its_site = make_site(3, 8 + static_cast<std::uint64_t>(g) * 12, 5);
                rows its;
                its.count = counts[g];
                its.origin = origin.data() + firsts[g];
                epilogue_statistics<W> const its_statistics{terms_alone.data() + 2 * g, nullptr, 0};
                if constexpr (Op::has_penalties) {
                    launch([&](auto const& block) {
                        k::epilogue_forward_strips(block, op, of_group(z.view(), g), of_group(y_alone.view(), g),
                                                   its_site, its, scratch);
                    });
                    launch([&](auto const& block) {
                        k::epilogue_finish(block, op, counts[g], columns, scratch, its_statistics);
                    });
                } else {
                    launch([&](auto const& block) {
                        k::epilogue_forward(block, op, of_group(z.view(), g), of_group(y_alone.view(), g), its_site,
                                            its);
                    });
                }
                launch([&](auto const& block) {
                    k::epilogue_backward(block, op, of_group(z.view(), g), of_group(dy.view(), g),
                                         of_group(dz_alone.view(), g), its_site, its, its_statistics, partial.data(),
                                         {0, counts[g], 0});
                });
                launch([&](auto const& block) {
                    k::add_partial_rows(block, static_cast<W const*>(partial.data()), k::strips_of(counts[g]).count,
                                        static_cast<index_t>(octets * 8), columns,
                                        bias_alone.data() + g * live.parameters, false);
                });
            }
            REQUIRE(same_bits(y.data, y_alone.data));
            REQUIRE(same_bits(dz.data, dz_alone.data));
            REQUIRE(same_bits(bias, bias_alone));
            REQUIRE(same_bits(terms, terms_alone));
        });
    };
    if (with_penalty)
        run(epilogue_op<activation::gelu, dropout::bernoulli_op, activation_penalty::l1_op>{{}, quarter, {{{{0.3}}}}});
    else
        run(epilogue_op<activation::gelu, dropout::bernoulli_op>{{}, quarter, {}});
}

} // namespace

TEST_CASE("groups of a launch: epilogues with their terms and bias gradients") {
    for (index_t const columns : {1, 8, 33, 96})
        for (bool const with_penalty : {false, true}) {
            check_epilogue<float>(columns, with_penalty);
            check_epilogue<narrow>(columns, with_penalty);
        }
}

TEST_CASE("groups of a launch: sums of columns") {
    live_groups const live = experts();
    constexpr index_t columns = 37;
    padded_matrix<float> const m(all_rows_of_groups, columns, 3, 1);
    for_launches([&](auto const& launch) {
        std::vector<float> partial(static_cast<std::size_t>(k::most_strips_of(live, most_of_one) * 40), -77.0f);
        std::vector<float> sums(static_cast<std::size_t>(groups * live.parameters), -5.0f), alone = sums;
        for (int g = 0; g < groups; ++g)
            launch([&](auto const& block) {
                k::grouped::column_partials(block, live, g, given(m.view()), partial.data());
            });
        for (int g = 0; g < groups; ++g)
            launch([&](auto const& block) {
                k::grouped::add_partial_rows(block, live, g, static_cast<float const*>(partial.data()), 0, most_of_one,
                                             columns, sums.data(), false, nullptr);
            });
        for (int g = 0; g < groups; ++g) {
            launch([&](auto const& block) { k::column_partials(block, of_group(m.view(), g), partial.data()); });
            launch([&](auto const& block) {
                k::add_partial_rows(block, static_cast<float const*>(partial.data()), k::strips_of(counts[g]).count,
                                    index_t{40}, columns, alone.data() + g * live.parameters, false);
            });
        }
        REQUIRE(same_bits(sums, alone));
    });
}

TEST_CASE("room for the strips of a batch is room for those of every smaller one") {
    for (index_t n = 1; n < 6000; ++n) {
        REQUIRE(k::strips_of(n).count <= k::strips_at_most(n));
        REQUIRE(k::strips_at_most(n - 1) <= k::strips_at_most(n));
    }
}

TEST_CASE("groups of a launch: the strips of all groups fit into what is asked for") {
    std::uint32_t state = 9;
    for (int round = 0; round < 200; ++round) {
        std::vector<std::int32_t> count, first;
        live_groups live;
        live.groups = 1 + round % 70;
        index_t most = 0;
        for (int g = 0; g < live.groups; ++g) {
            state = state * 1664525u + 1013904223u;
            count.push_back(static_cast<std::int32_t>(state >> 8) % (round % 3 == 0 ? 9 : 5000));
            first.push_back(static_cast<std::int32_t>(live.most_rows));
            live.most_rows += round_up(count.back(), row_granule);
            most = count.back() > most ? count.back() : most;
        }
        live.count = count.data();
        live.first = first.data();
        REQUIRE(k::strips_before(live, live.groups, most) <= k::most_strips_of(live, most));
    }
}

TEST_CASE("groups of a launch: updates with penalties, masks and random bits") {
    live_groups const live = experts();
    using rule_type = tensor_rule<weight::fixed_mask, flat_tuple<penalty::l1_op, penalty::l2_op>,
                                  flat_tuple<transform::gradient_dropout_op>>;
    rule_type const rule{{}, {{{{0.01}}, {{0.02}}}}, {{{{16384, 4.0 / 3.0}}}}};
    constexpr optimizer::adamw_op adamw{1e-2, 0.9, 0.99, 1e-6, 1e-2, 1.7, 1.3};
    constexpr index_t rows_of_tensor = 5, columns = 17;
    auto const size = static_cast<std::size_t>(groups * live.parameters);
    struct memory {
        std::vector<float> weights, moments;
        std::vector<double> terms;
    };
    std::vector<float> const gradients = numbers<float>(static_cast<index_t>(size), 2);
    std::vector<std::uint32_t> mask;
    for (std::uint32_t i = 0; i < groups * 3; ++i)
        mask.push_back(0x9e3779b9u * (i + 1));
    auto const segment = [&](memory& m) {
        update_segment<float> s;
        s.rows = rows_of_tensor;
        s.columns = columns;
        s.weights = m.weights.data();
        s.gradients = gradients.data();
        s.moments = m.moments.data();
        s.moment_stride = static_cast<index_t>(size);
        s.mask = mask.data();
        s.values = m.terms.data();
        s.site = make_site(3, 8, 5);
        return s;
    };
    memory const start{numbers<float>(static_cast<index_t>(size), 1), std::vector<float>(2 * size, 0.25f),
                       std::vector<double>(groups * 2, 1.0)};
    for_launches([&](auto const& launch) {
        memory together = start, alone = start;
        std::vector<double> partial(groups * 2, -77.0), partial_alone(2);
        for (int g = 0; g < groups; ++g)
            launch([&](auto const& block) {
                k::grouped::update_tensor(block, live, g, adamw, rule, segment(together), {}, partial.data());
            });
        for (int g = 0; g < groups; ++g) {
            update_segment<float> s = segment(alone);
            s.weights += g * live.parameters;
            s.gradients += g * live.parameters;
            s.moments += g * live.parameters;
            s.mask += 3 * g;
            s.values += 2 * g;
            s.site = make_site(3, 8 + static_cast<std::uint64_t>(g) * 12, 5);
            launch([&](auto const& block) { k::update_tensor(block, adamw, rule, s, {}, partial_alone.data()); });
            REQUIRE(partial[static_cast<std::size_t>(2 * g)] == partial_alone[0]);
            REQUIRE(partial[static_cast<std::size_t>(2 * g + 1)] == partial_alone[1]);
        }
        REQUIRE(same_bits(together.weights, alone.weights));
        REQUIRE(same_bits(together.moments, alone.moments));
        REQUIRE_FALSE(same_bits(together.weights, start.weights));
    });
}

TEST_CASE("groups of a launch: products by tiles") {
    live_groups live = experts();
    constexpr index_t in = 20, out = 36;
    live.parameters = in * out + 16;
    padded_matrix<float> const x(all_rows_of_groups, in, 4, 1), dz(all_rows_of_groups, out, 0, 2);
    std::vector<float> const tensors = numbers<float>(groups * live.parameters, 3);
    auto const w = [&](int g) { return matrix_view<float const>{tensors.data() + g * live.parameters, in, out, out}; };
    auto const bias = [&](int g) { return tensors.data() + 7 + g * live.parameters; };
    padded_matrix<float> z(all_rows_of_groups, out, 4, 4), dx(all_rows_of_groups, in, 0, 5);
    padded_matrix<float> z_alone = z, dx_alone = dx;
    std::vector<float> dw(static_cast<std::size_t>(groups * live.parameters), -5.0f), dw_alone = dw;
    auto const dw_of = [&](std::vector<float>& all, int g) {
        return matrix_view<float>{all.data() + g * live.parameters, in, out, out};
    };
    for (int g = 0; g < groups; ++g) {
        emulated_launch<k::tile_product_threads>(2, [&](auto& block) {
            k::grouped::tile_forward(block, live, g, given(x.view()), w(0), bias(0), given(z.view()), false);
            k::grouped::tile_input_gradient(block, live, g, given(dz.view()), w(0), given(dx.view()));
            k::grouped::tile_weight_gradient(block, live, g, given(x.view()), given(dz.view()), dw_of(dw, 0));
        });
        emulated_launch<k::tile_product_threads>(1, [&](auto& block) {
            k::tile_forward(block, of_group(x.view(), g), w(g), bias(g), of_group(z_alone.view(), g), false, {});
            k::tile_input_gradient(block, of_group(dz.view(), g), w(g), of_group(dx_alone.view(), g), {});
            k::tile_weight_gradient(block, of_group(x.view(), g), of_group(dz.view(), g), dw_of(dw_alone, g), {});
        });
    }
    REQUIRE(same_bits(z.data, z_alone.data));
    REQUIRE(same_bits(dx.data, dx_alone.data));
    REQUIRE(same_bits(dw, dw_alone));
}

TEST_CASE("rows of pairs are added in the order of the pairs, shared ones once") {
    constexpr index_t n = 6, slots = 4, pairs_count = 12;
    constexpr std::int32_t none = -1;
    std::vector<std::int32_t> const pair{7, 2,    none, 11,   none, none, none, none, 3, 3, 0, 3,
                                         9, none, none, none, 4,    8,    10,   5,    6, 1, 6, none};
    std::vector<std::int32_t> ascending = pair;
    for (index_t r = 0; r < n; ++r)
        std::sort(ascending.begin() + r * slots, ascending.begin() + (r + 1) * slots);
    for (index_t const columns : {1, 9, 64}) {
        CAPTURE(columns);
        padded_matrix<float> const from(pairs_count, columns, 2, 1), start(n, columns, 1, 2);
        padded_matrix<float> expected = start;
        for (index_t r = 0; r < n; ++r)
            for (index_t s = 0; s < slots; ++s) {
                std::int32_t const p = ascending[static_cast<std::size_t>(r * slots + s)];
                if (p < 0 || (s > 0 && p == ascending[static_cast<std::size_t>(r * slots + s - 1)])) continue;
                for (index_t c = 0; c < columns; ++c)
                    expected.view()(r, c) += from(p, c);
            }
        for_launches([&](auto const& launch) {
            padded_matrix<float> to = start;
            launch([&](auto const& block) { k::add_pairs(block, from.view(), pair.data(), slots, false, to.view()); });
            REQUIRE(same_bits(to.data, expected.data));
        });
    }
    // Where they stand in order, nothing is searched for.
    std::vector<std::int32_t> const ordered{none, 2, 7, 11, 0, none, none, 1, 3, 4, 5, 6};
    padded_matrix<float> const from(pairs_count, 9, 0, 1), start(3, 9, 1, 2);
    for_launches([&](auto const& launch) {
        padded_matrix<float> to = start, searched = start;
        launch([&](auto const& block) { k::add_pairs(block, from.view(), ordered.data(), slots, true, to.view()); });
        launch([&](auto const& block) {
            k::add_pairs(block, from.view(), ordered.data(), slots, false, searched.view());
        });
        REQUIRE(same_bits(to.data, searched.data));
        REQUIRE_FALSE(same_bits(to.data, start.data));
    });
}

TEST_CASE("rows of a window are cleared, copied and added") {
    for (index_t const columns : {1, 8, 21})
        for_launches([&](auto const& launch) {
            CAPTURE(columns);
            padded_matrix<float> const from(20, columns, 1, 1), start(20, columns, 2, 2);
            std::int32_t const count = 6, first = 11;
            live_window const window{&count, &first};
            padded_matrix<float> cleared = start, copied = start, added = start;
            launch([&](auto const& block) { k::clear_rows(block, k::live_rows(cleared.view(), window)); });
            launch([&](auto const& block) {
                k::combine_rows<false>(block, k::live_rows(from.view(), window), k::live_rows(copied.view(), window));
            });
            launch([&](auto const& block) {
                k::combine_rows<true>(block, k::live_rows(from.view(), window), k::live_rows(added.view(), window));
            });
            padded_matrix<float> cleared_expected = start, copied_expected = start, added_expected = start;
            for (index_t r = first; r < first + count; ++r)
                for (index_t c = 0; c < columns; ++c) {
                    cleared_expected.view()(r, c) = 0.0f;
                    copied_expected.view()(r, c) = from(r, c);
                    added_expected.view()(r, c) += from(r, c);
                }
            REQUIRE(same_bits(cleared.data, cleared_expected.data));
            REQUIRE(same_bits(copied.data, copied_expected.data));
            REQUIRE(same_bits(added.data, added_expected.data));
        });
}

TEST_CASE("a row that stands for all is of the group's own tensor") {
    constexpr index_t columns = 5, apart = 16;
    std::vector<float> tensors(2 * apart);
    for (std::size_t i = 0; i < tensors.size(); ++i)
        tensors[i] = static_cast<float>(i + 1);
    std::int32_t const live_counts[] = {3, 2}, live_firsts[] = {0, 4};
    espalier::live_groups const live{.count = live_counts, .first = live_firsts, .groups = 2, .parameters = apart};
    for_launches([&](auto const& launch) {
        padded_matrix<float> to(7, columns, 1, 2), expected = to;
        k::passes::combine_rows<false, float, float> const pass{{tensors.data(), 7, columns, 0}, to.view()};
        launch([&](auto const& block) {
            for (int group = 0; group < 2; ++group)
                pass(block, live, group);
        });
        for (int group = 0; group < 2; ++group)
            for (index_t r = live_firsts[group]; r < live_firsts[group] + live_counts[group]; ++r)
                for (index_t c = 0; c < columns; ++c)
                    expected.view()(r, c) = tensors[static_cast<std::size_t>(group * apart + c)];
        REQUIRE(same_bits(to.data, expected.data));
    });
}
