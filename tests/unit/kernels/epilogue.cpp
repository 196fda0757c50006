// SPDX-License-Identifier: Apache-2.0
// The kernel bodies of the epilogue on the emulated block: against the CPU loops, against the definition in double, and
// bit for bit over launch shapes.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/identity.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/sigmoid.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/device/cpu/epilogue.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/drop_step.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/kernels/epilogue.hpp>
#include <espalier/kernels/grouped.hpp>

#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace act = espalier::activation;
using espalier::epilogue_op;
using espalier::epilogue_statistics;
using espalier::matrix_view;
using espalier::random_site;

constexpr espalier::dropout::bernoulli_op third{21845, 65536.0 / (65536.0 - 21845.0)};
constexpr espalier::dropout::drop_path_op half_of_rows{32768, 2.0};

// A number that depends on all that an element knows but the draw and the sums.
template <class T, class Bits> ESPALIER_FN T place_of(espalier::epilogue_about<T, Bits> const& about) {
    using S = espalier::scalar_of<T>;
    auto const number = [](auto x) { return T(static_cast<S>(x)); };
    return (static_cast<T>(about.column) * number(0.25) + number(about.width) +
            number(about.origin % 16) * number(0.5) + number(about.row) * number(0.125) +
            number(about.batch->label[about.row]) + number(about.step)) /
           (number(about.width) + about.row_count * number(0.25) + number(40));
}
// Any factor that is known from its draw and its place.
struct placed_dropout {
    static constexpr espalier::random_scope scope = espalier::random_scope::element;
    static constexpr bool needs_tags = true;
    template <class T, class Bits> ESPALIER_FN T factor(espalier::epilogue_about<T, Bits> const& about) const {
        using espalier::select;
        return select(about.bits < Bits(20000u), T(0), place_of(about));
    }
};
// Half of the rows lose some of their elements, each with a further draw; what is kept grows by 0.75.
struct of_some_rows {
    static constexpr espalier::random_scope scope = espalier::random_scope::element;
    static constexpr bool needs_row_bits = true;
    template <class T, class Bits> ESPALIER_FN T factor(espalier::epilogue_about<T, Bits> const& about) const {
        using espalier::select;
        return select(about.row_bits < Bits(32768u), select(about.bits < Bits(40000u), T(0), T(1)), T(1));
    }
    template <class T, class Bits> ESPALIER_FN T shift(Bits bits) const {
        using espalier::select;
        return select(bits < Bits(40000u), T(0), T(0.75f));
    }
};
template <espalier::penalty_scope Scope> struct placed_penalty {
    static constexpr espalier::penalty_scope scope = Scope;
    static constexpr bool needs_tags = true;
    template <class T, class Bits>
    ESPALIER_FN T contribution(T y, espalier::epilogue_about<T, Bits> const& about) const {
        return y * y * place_of(about);
    }
    ESPALIER_FN double finish(double sum, double row_count) const { return sum / row_count; }
    template <class T, class Bits> ESPALIER_FN T gradient(T y, espalier::epilogue_about<T, Bits> const& about) const {
        return (y + y) * place_of(about) / about.row_count + about.column_sum * T(0.0625f);
    }
};

random_site const site = espalier::make_site(7, 3, 11, 1);

// A mask of units, for ops that have one. What is not 0 is kept.
template <class W> std::vector<W> mask_of_units(index_t columns) {
    std::vector<W> mask(static_cast<std::size_t>(columns));
    for (std::size_t c = 0; c < mask.size(); ++c)
        mask[c] = c % 3 == 1 || c % 7 == 2 ? W(0) : W(c % 2 == 0 ? 1.0f : 0.5f);
    return mask;
}

// Everything a body and a loop leave behind.
template <class T> struct result {
    padded_matrix<T> y, dz;
    std::vector<espalier::master_of<T>> bias, sums;
    std::vector<double> terms;
    bool operator==(result const& o) const {
        return same_bits(y.data, o.y.data) && same_bits(dz.data, o.dz.data) && same_bits(bias, o.bias) &&
               same_bits(sums, o.sums) && same_bits(terms, o.terms);
    }
};

template <class T, class Op, class Launch>
result<T> run_bodies(Launch const& launch, Op const& op, padded_matrix<T> const& z, padded_matrix<T> const& dy,
                     espalier::rows const& batch, bool with_bias) {
    namespace k = espalier::kernels;
    using W = espalier::master_of<T>;
    result<T> out{padded_matrix<T>(z.rows, z.columns, z.stride - z.columns, 90), dy, {}, {}, {}};
    auto const strips = k::strips_of(z.rows).count;
    auto const octets = k::octets_of(z.columns);
    constexpr int column_sets = Op::column_penalties > 0 ? Op::column_penalties : 1;
    std::vector<W> partial(static_cast<std::size_t>(column_sets * strips * octets * 8), W(-77));
    std::vector<double> elements(static_cast<std::size_t>((Op::penalty_count + 1) * strips * octets), -77.0);
    out.sums.assign(static_cast<std::size_t>(column_sets * z.columns), W(-5));
    out.terms.assign(Op::penalty_count, -5.0);
    out.bias.assign(static_cast<std::size_t>(z.columns), W(-5));
    k::epilogue_scratch<W> const scratch{elements.data(), partial.data()};
    std::vector<W> const units = mask_of_units<W>(z.columns);
    epilogue_statistics<W> const statistics{out.terms.data(), out.sums.data(), z.columns, units.data()};

    if constexpr (Op::has_penalties) {
        launch([&](auto const& group) {
            k::epilogue_forward_strips(group, op, z.view(), out.y.view(), site, batch, scratch, nullptr, units.data());
        });
        for (int i = 0; i < Op::column_penalties; ++i)
            launch([&](auto const& group) {
                k::add_partial_rows(group, scratch.columns + i * strips * octets * 8, strips, octets * 8, z.columns,
                                    statistics.column_sums + i * z.columns, false);
            });
        launch([&](auto const& group) { k::epilogue_finish(group, op, z.rows, z.columns, scratch, statistics); });
    } else {
        launch([&](auto const& group) {
            k::epilogue_forward(group, op, z.view(), out.y.view(), site, batch, nullptr, units.data());
        });
    }
    W* const rows_of_sums = with_bias ? partial.data() : nullptr;
    // In place, as layers call it.
    matrix_view<T const> const upstream = out.dz.view();
    launch([&](auto const& group) {
        k::epilogue_backward(group, op, z.view(), upstream, out.dz.view(), site, batch, statistics, rows_of_sums,
                             {0, static_cast<std::int32_t>(z.rows), 0});
    });
    if (with_bias)
        launch([&](auto const& group) {
            k::add_partial_rows(group, partial.data(), strips, octets * 8, z.columns, out.bias.data(), false);
        });
    return out;
}

template <class T, class Op>
void check_shape(Op const& op, index_t row_count, index_t columns, index_t extra, bool with_origin, double tolerance) {
    using W = espalier::master_of<T>;
    CAPTURE(row_count, columns, extra, with_origin);
    padded_matrix<T> const z(row_count, columns, extra, 1), dy(row_count, columns, extra, 2);
    std::vector<std::uint32_t> origin;
    std::vector<std::int32_t> label;
    std::vector<std::uint64_t> key;
    std::vector<float> rate;
    for (index_t r = 0; r < row_count; ++r) {
        origin.push_back(static_cast<std::uint32_t>(1000 - 3 * r));
        label.push_back(static_cast<std::int32_t>(r % 5));
        key.push_back((std::uint64_t{3} << 32) + static_cast<std::uint64_t>(r % 4));
        rate.push_back(static_cast<float>(r % 6) / 5.0f);
    }
    espalier::rows batch;
    batch.count = row_count;
    batch.first = 40;
    batch.label = label.data();
    batch.key = key.data();
    batch.rate = rate.data();
    if (with_origin) batch.origin = origin.data();

    std::vector<result<T>> results;
    for_launches([&](auto const& launch) { results.push_back(run_bodies<T>(launch, op, z, dy, batch, true)); });
    for (auto const& r : results)
        REQUIRE(r == results[0]);
    // Without a bias gradient nothing else changes.
    for_launches([&](auto const& launch) {
        auto const alone = run_bodies<T>(launch, op, z, dy, batch, false);
        REQUIRE(same_bits(alone.dz.data, results[0].dz.data));
    });
    auto const& got = results[0];
    REQUIRE(got.dz.same_padding(dy));
    REQUIRE(got.y.same_padding(padded_matrix<T>(row_count, columns, extra, 90)));

    // The definition, in double.
    std::vector<double> sums(static_cast<std::size_t>((Op::column_penalties + 1) * columns)), y_all;
    double element_sum[Op::penalty_count + 1] = {};
    using dropout = typename Op::dropout_type;
    auto const place_of_draw = [&](index_t r) {
        if constexpr (requires { typename dropout::place; })
            return static_cast<std::uint32_t>(key[static_cast<std::size_t>(r)]) ^ 3u * 0x9e3779b9u;
        else
            return batch.origin_of(r);
    };
    auto const bits_of = [&](index_t r, index_t c) -> std::uint32_t {
        using espalier::random_scope;
        auto const at = [&](std::uint32_t row, index_t i) {
            return espalier::draw(site, row, static_cast<std::uint32_t>(i / 8))[static_cast<int>(i % 8)];
        };
        if constexpr (Op::scope == random_scope::none)
            return 0;
        else if constexpr (Op::scope == random_scope::segment)
            return at(place_of_draw(r), c / op.dropout.segment);
        else if constexpr (Op::scope == random_scope::step)
            return at(0, 0);
        else
            return at(place_of_draw(r), Op::scope == random_scope::row ? 0 : c);
    };
    std::vector<double> const mask = mask_of_units<double>(columns);
    auto const about = [&](index_t r, index_t c) {
        auto element = espalier::about_row<Op, double, std::uint32_t>(batch, r, columns, static_cast<double>(row_count),
                                                                      site.step);
        element.bits = bits_of(r, c);
        element.row_bits = espalier::draw(site, place_of_draw(r), 0, 1)[0];
        element.column = static_cast<std::uint32_t>(c);
        element.unit = mask[static_cast<std::size_t>(c)];
        return element;
    };
    bool y_right = true;
    for (index_t r = 0; r < row_count; ++r)
        for (index_t c = 0; c < columns; ++c) {
            double const y = op.forward(static_cast<double>(static_cast<W>(z(r, c))), about(r, c));
            y_right &= near(static_cast<double>(static_cast<W>(got.y(r, c))), y, tolerance);
            int index = 0, column_index = 0;
            for_each(op.penalties, [&](auto const& penalty) {
                if (std::remove_cvref_t<decltype(penalty)>::scope == espalier::penalty_scope::column)
                    sums[static_cast<std::size_t>(column_index++ * columns + c)] +=
                        espalier::detail::contribution_of(penalty, y, about(r, c));
                else
                    element_sum[index] += espalier::detail::contribution_of(penalty, y, about(r, c));
                ++index;
            });
        }
    REQUIRE(y_right);
    if constexpr (Op::has_penalties) {
        int index = 0, column_index = 0;
        bool terms_right = true;
        auto const n = static_cast<double>(row_count);
        for_each(op.penalties, [&](auto const& penalty) {
            double term = 0;
            if (std::remove_cvref_t<decltype(penalty)>::scope == espalier::penalty_scope::column) {
                for (index_t c = 0; c < columns && row_count > 0; ++c) {
                    auto const i = static_cast<std::size_t>(column_index * columns + c);
                    terms_right &= near(static_cast<double>(got.sums[i]), sums[i], 10 * tolerance);
                    term += penalty.finish(sums[i], n);
                }
                ++column_index;
            } else if (row_count > 0) {
                term = penalty.finish(element_sum[index], n);
            }
            terms_right &= near(got.terms[static_cast<std::size_t>(index)], term, 10 * tolerance);
            ++index;
        });
        REQUIRE(terms_right);
    }
    bool dz_right = true, bias_right = true;
    for (index_t c = 0; c < columns; ++c) {
        double bias = 0;
        for (index_t r = 0; r < row_count; ++r) {
            double const d =
                op.backward(static_cast<double>(static_cast<W>(z(r, c))), static_cast<double>(static_cast<W>(dy(r, c))),
                            about(r, c), [&](int i) { return sums[static_cast<std::size_t>(i * columns + c)]; });
            bias += d;
            dz_right &= near(static_cast<double>(static_cast<W>(got.dz(r, c))), d, 4 * tolerance);
        }
        bias_right &= near(static_cast<double>(got.bias[static_cast<std::size_t>(c)]), bias, 20 * tolerance);
    }
    REQUIRE(dz_right);
    REQUIRE(bias_right);

    // The loops of the CPU.
    if constexpr (std::is_same_v<T, W>) {
        if (columns == 0) return;
        padded_matrix<T> y(row_count, columns, extra, 90), dz = dy;
        // Sizes come from where the loops take them. When GCC 14 knows the size of a vector but not that the matrix has
        // as few columns, it reports the loops' whole packs as outside.
        index_t const width = z.view().columns;
        std::vector<T> column_sums(static_cast<std::size_t>((Op::column_penalties + 1) * width)),
            bias(static_cast<std::size_t>(width));
        std::vector<double> terms(Op::penalty_count + 1);
        std::vector<T> const units = mask_of_units<T>(width);
        epilogue_statistics<T> const statistics{terms.data(), column_sums.data(), width, units.data()};
        espalier::cpu::epilogue_forward(op, z.view(), y.view(), site, batch, statistics);
        espalier::cpu::epilogue_backward(op, z.view(), matrix_view<T const>(dz.view()), dz.view(), bias.data(), site,
                                         batch, statistics);
        bool equal = true;
        for (index_t r = 0; r < row_count; ++r)
            for (index_t c = 0; c < columns; ++c) {
                equal &= near(static_cast<double>(got.y(r, c)), static_cast<double>(y(r, c)), tolerance);
                equal &= near(static_cast<double>(got.dz(r, c)), static_cast<double>(dz(r, c)), 4 * tolerance);
            }
        for (std::size_t c = 0; c < bias.size(); ++c)
            equal &= near(static_cast<double>(got.bias[c]), static_cast<double>(bias[c]), 20 * tolerance);
        for (std::size_t i = 0; i < got.terms.size() && row_count > 0; ++i)
            equal &= near(got.terms[i], terms[i], 10 * tolerance);
        REQUIRE(equal);
    }
}

template <class T, class Op> void check_op(Op const& op, double tolerance) {
    for (index_t r : all_rows)
        for (index_t c : all_columns)
            check_shape<T>(op, r, c, c % 8 == 0 ? 8 : 3, (r + c) % 2 == 0, tolerance);
}

} // namespace

TEST_CASE("epilogue bodies without random factors") {
    check_op<float>(epilogue_op<act::gelu, espalier::dropout::none>{}, 2e-6);
}

TEST_CASE("epilogue bodies with a decision for each element") {
    check_op<float>(epilogue_op<act::relu, espalier::dropout::bernoulli_op>{{}, third, {}}, 2e-6);
}

TEST_CASE("epilogue bodies with a decision for each row") {
    check_op<float>(epilogue_op<act::tanh, espalier::dropout::drop_path_op>{{}, half_of_rows, {}}, 2e-6);
}

TEST_CASE("epilogue bodies with activation penalties") {
    using l1 = espalier::activation_penalty::l1_op;
    using flops = espalier::activation_penalty::flops_op;
    epilogue_op<act::tanh, espalier::dropout::bernoulli_op, flops, l1, flops> op{{}, third, {}};
    espalier::get<0>(op.penalties) = flops{0.7};
    espalier::get<1>(op.penalties) = l1{0.3};
    espalier::get<2>(op.penalties) = flops{0.2};
    check_op<float>(op, 3e-6);
    check_op<double>(op, 1e-14);
}

TEST_CASE("epilogue bodies leave units out, whatever their activation, dropout and penalties say") {
    using flops = espalier::activation_penalty::flops_op;
    using espalier::masked_epilogue;
    using filled = espalier::dropout::filled_op<espalier::dropout::bernoulli_op>;
    masked_epilogue<epilogue_op<act::sigmoid, espalier::dropout::none>> const plain{};
    check_op<float>(plain, 2e-6);
    masked_epilogue<epilogue_op<act::sigmoid, filled, flops>> op{};
    op.dropout = {{third}, -1.5};
    espalier::get<0>(op.penalties) = flops{0.7};
    for (index_t c : {9, 100, 257}) {
        check_shape<float>(op, 33, c, 3, c == 9, 4e-6);
        check_shape<double>(op, 33, c, 3, c != 9, 1e-14);
        check_shape<narrow>(plain, 33, c, c % 8 == 0 ? 8 : 3, true, 0.005);
    }
    // Nothing of a unit that is left out is seen: its numbers need not be finite.
    padded_matrix<float> const z(2, 9, 0, 5);
    padded_matrix<float> spoiled = z;
    for (index_t r = 0; r < 2; ++r)
        spoiled.view()(r, 1) = std::numeric_limits<float>::infinity();
    espalier::rows batch;
    batch.count = 2;
    for_launches([&](auto const& launch) {
        auto const with = run_bodies<float>(launch, op, spoiled, z, batch, true);
        CHECK(with == run_bodies<float>(launch, op, z, z, batch, true));
        CHECK(with.y(1, 1) == 0.0f);
        CHECK(with.dz(1, 1) == 0.0f);
        CHECK(with.y(1, 0) != 0.0f);
    });
}

TEST_CASE("epilogue bodies tell an element where it stands") {
    using by_element = placed_penalty<espalier::penalty_scope::element>;
    using by_column = placed_penalty<espalier::penalty_scope::column>;
    epilogue_op<act::identity, placed_dropout> const alone{};
    epilogue_op<act::identity, placed_dropout, by_element, by_column> const penalised{};
    for (index_t r : {1, 33})
        for (index_t c : {1, 9, 33, 257}) {
            check_shape<float>(alone, r, c, 3, r == 1, 3e-6);
            check_shape<float>(penalised, r, c, 3, r != 1, 2e-5);
            check_shape<double>(penalised, r, c, 3, r != 1, 1e-14);
        }
}

TEST_CASE("epilogue bodies with a decision for each segment, for all, for equal tags and with rates of rows") {
    namespace drop = espalier::dropout;
    using flops = espalier::activation_penalty::flops_op;
    auto const check = [](auto const& dropout) {
        using dropout_op = std::remove_cvref_t<decltype(dropout)>;
        epilogue_op<act::tanh, dropout_op> const alone{{}, dropout, {}};
        epilogue_op<act::tanh, dropout_op, flops> penalised{{}, dropout, {}};
        espalier::get<0>(penalised.penalties) = flops{0.7};
        for (index_t c : {9, 100, 257}) {
            check_shape<float>(alone, 33, c, 3, c == 9, 3e-6);
            check_shape<double>(penalised, 33, c, 3, c != 9, 1e-14);
        }
    };
    for (std::uint32_t columns : {1u, 3u, 8u, 20u, 257u})
        check(drop::drop_segment_op{{third}, columns});
    check(drop::threshold_op<espalier::random_scope::step>{espalier::quantise(0.01)});
    check(drop::shared_op<drop::bernoulli_op, espalier::row_tag<&espalier::rows::key>>{third});
    check(drop::filled_op<drop::shared_op<drop::drop_path_op, espalier::row_tag<&espalier::rows::key>>>{{half_of_rows},
                                                                                                        -1.5});
    check(drop::rate_of_row<>{});
    check(of_some_rows{});
}

TEST_CASE("groups draw from streams of their own, but for a decision that holds for all") {
    using espalier::kernels::grouped::epilogue_site;
    using common = espalier::dropout::threshold_op<espalier::random_scope::step>;
    espalier::live_groups live;
    live.streams = 3;
    CHECK(epilogue_site<epilogue_op<act::identity, espalier::dropout::bernoulli_op>>(live, 2, site) ==
          espalier::later_stream(site, 6));
    CHECK(epilogue_site<epilogue_op<act::identity, common>>(live, 2, site) == site);
}

TEST_CASE("epilogue bodies with 16-bit storage") {
    using l1 = espalier::activation_penalty::l1_op;
    check_op<narrow>(epilogue_op<act::relu, espalier::dropout::bernoulli_op>{{}, third, {}}, 0.005);
    epilogue_op<act::relu, espalier::dropout::bernoulli_op, l1> op{{}, third, {}};
    espalier::get<0>(op.penalties) = l1{0.3};
    check_shape<narrow>(op, 33, 100, 4, true, 0.005);
}

TEST_CASE("dropout bodies drop the elements that the CPU drops, bit for bit") {
    epilogue_op<act::identity, espalier::dropout::bernoulli_op> const by_element{{}, third, {}};
    epilogue_op<act::identity, espalier::dropout::drop_path_op> const by_row{{}, half_of_rows, {}};
    auto const check = [&](auto const& op) {
        int dropped = 0, kept = 0;
        for (index_t columns : all_columns) {
            if (columns == 0) continue;
            padded_matrix<float> const z(33, columns, 0, 5);
            espalier::rows batch;
            batch.count = 33;
            batch.first = 0xfffffff0u; // wraps
            padded_matrix<float> y = z;
            espalier::cpu::epilogue_forward(op, z.view(), y.view(), site, batch, epilogue_statistics<float>{});
            for_launches([&](auto const& launch) {
                padded_matrix<float> mine = z;
                launch([&](auto const& group) {
                    espalier::kernels::epilogue_forward(group, op, z.view(), mine.view(), site, batch);
                });
                REQUIRE(same_bits(mine.data, y.data));
            });
            for (float v : y.data)
                ++(v == 0.0f ? dropped : kept);
        }
        REQUIRE(dropped > 1000);
        REQUIRE(kept > 1000);
    };
    check(by_element);
    check(by_row);
}

TEST_CASE("more rows than strips") {
    // 700 rows make strips of eight rows; 3000 rows are more than 256 such strips.
    for (index_t n : {700, 3000}) {
        REQUIRE(espalier::kernels::strips_of(n).count <= 256);
        epilogue_op<act::relu, espalier::dropout::none> const op{};
        check_shape<float>(op, n, 9, 0, false, 2e-6);
    }
}
