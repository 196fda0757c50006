// SPDX-License-Identifier: Apache-2.0
// Gates of parts: published numbers, central differences of everything together, and every form of a row against one
// row in one lane.
#include <espalier/core/group.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/row.hpp>
#include <espalier/device/cpu/row_lanes.hpp>
#include <espalier/device/emulated/emulated_block.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/entropy.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/over_all.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/variation.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/schedule/linear.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

using namespace espalier;

namespace {

using numbers = std::vector<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

double random(std::uint32_t i, std::uint32_t stream) {
    return 2.0 * uniform01(draw(make_site(11, stream), i, 0).word[0]) - 1.0;
}

/// [rows][Experts] each.
struct inputs {
    int rows;
    numbers z, raw, eps;
    numbers cost; ///< the loss beside the gate's term is sum of cost g
};

template <int Experts> inputs some(int rows) {
    inputs x{rows, {}, {}, {}, {}};
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(rows * Experts); ++i) {
        x.z.push_back(1.5 * random(i, 3));
        x.raw.push_back(random(i, 4) - 0.5);
        x.eps.push_back(1.5 * random(i, 5));
        x.cost.push_back(random(i, 6));
    }
    return x;
}

/// What a pass over a batch left.
struct outcome {
    numbers g, dz, draw; ///< [rows][Experts]
    numbers statistics;  ///< [rows][statistics][Experts]
    numbers sums;        ///< [statistics][Experts]
    double term = 0.0;
};

// Forms of a row: where column e of row r of a step stands. What lies past the last column is NaN.

struct single {
    using group = serial_group;
    using value = double;
    static constexpr int rows = 1;
    static double& at(auto& x, int, int e) { return x.v[e]; }
    static double read(double x, int) { return x; }
};
struct sixteen {
    using group = serial_group;
    using value = pack<double, 16>;
    static constexpr int rows = 16;
    static double read(value const& x, int r) { return x[r]; }
};
struct across {
    using group = cpu::pack_lanes<8>;
    using value = pack<double, 8>;
    static constexpr int rows = 1;
    static double read(value const& x, int) { return x[0]; }
};
template <class Group> struct tiled {
    using group = Group;
    using value = double;
    static constexpr int rows = 1;
    static double read(double x, int) { return x; }
};

/// Fills `x` from rows [first, first + Form::rows) of a matrix with that many columns; rows past the last are row 0's.
template <class Form, class Group, class Row>
void fill(Group const& group, Row& x, double const* from, int first, int count, int stride) {
    constexpr int lanes = Row::lanes;
    for (int i = 0; i < Row::local; ++i) {
        auto const value_at = [&](int r, int lane) {
            int const column = i * lanes + lane, row = first + r < count ? first + r : 0;
            return column < Row::columns ? from[row * stride + column] : nan_value;
        };
        if constexpr (std::is_same_v<Form, sixteen>)
            for (int r = 0; r < Form::rows; ++r)
                x.v[i].set(r, value_at(r, 0));
        else if constexpr (std::is_same_v<Form, across>)
            for (int l = 0; l < lanes; ++l)
                x.v[i].set(l, value_at(0, l));
        else if constexpr (lanes > 1)
            x.v[i] = value_at(0, static_cast<int>(group.thread_rank()));
        else
            x.v[i] = value_at(0, 0);
    }
}
template <class Form, class Group, class Row>
void keep(Group const& group, Row const& x, double* to, int first, int count, int stride) {
    constexpr int lanes = Row::lanes;
    for (int i = 0; i < Row::local; ++i) {
        auto const store = [&](int r, int lane, double value) {
            int const column = i * lanes + lane;
            if (column < Row::columns && first + r < count) to[(first + r) * stride + column] = value;
        };
        if constexpr (std::is_same_v<Form, sixteen>)
            for (int r = 0; r < Form::rows; ++r)
                store(r, 0, x.v[i][r]);
        else if constexpr (std::is_same_v<Form, across>)
            for (int l = 0; l < lanes; ++l)
                store(0, l, x.v[i][l]);
        else if constexpr (lanes > 1)
            store(0, static_cast<int>(group.thread_rank()), x.v[i]);
        else
            store(0, 0, x.v[i]);
    }
}
template <class Group> bool leads(Group const& group) {
    if constexpr (requires { group.thread_rank(); })
        return group.thread_rank() == 0;
    else
        return true;
}

/// The numbers of a batch that a forward pass leaves for the backward pass.
struct tape {
    numbers weight, expert, share;
};

template <class Form, class Gate, class Op, class Group>
void forward_rows(Group const& group, Op const& op, inputs const& x, outcome& out, tape& t) {
    using T = typename Form::value;
    constexpr int E = Gate::experts, slots = Gate::slots, S = Op::needs.statistics;
    for (int first = 0; first < x.rows; first += Form::rows) {
        row<Group, T, E> z;
        gate_about<Group, T, E, S> about;
        fill<Form>(group, z, x.z.data(), first, x.rows, E);
        fill<Form>(group, about.noise, x.eps.data(), first, x.rows, E);
        fill<Form>(group, about.noise_logits, x.raw.data(), first, x.rows, E);
        T share;
        if constexpr (Gate::slot_is_expert) {
            row<Group, T, E> chosen;
            share = op.route(group, z, chosen, about);
            keep<Form>(group, chosen, out.g.data(), first, x.rows, E);
        } else {
            gate_slots<T, slots> chosen;
            share = op.route(group, z, chosen, about);
            for (int r = 0; r < Form::rows && first + r < x.rows && leads(group); ++r)
                for (int k = 0; k < slots; ++k) {
                    auto const at = static_cast<std::size_t>((first + r) * slots + k);
                    t.weight[at] = Form::read(chosen.weight[k], r);
                    t.expert[at] = Form::read(chosen.expert[k], r);
                    if (t.weight[at] != 0.0)
                        out.g[static_cast<std::size_t>((first + r) * E) + static_cast<std::size_t>(t.expert[at])] =
                            t.weight[at];
                }
        }
        for (int s = 0; s < S; ++s)
            keep<Form>(group, about.statistic[s], out.statistics.data() + s * E, first, x.rows, S * E);
        for (int r = 0; r < Form::rows && first + r < x.rows && leads(group); ++r)
            t.share[static_cast<std::size_t>(first + r)] = Form::read(share, r);
    }
}

template <class Form, class Gate, class Op, class Group>
void backward_rows(Group const& group, Op const& op, inputs const& x, outcome& out, tape const& t,
                   numbers const& slopes) {
    using T = typename Form::value;
    constexpr int E = Gate::experts, slots = Gate::slots, S = Op::needs.statistics;
    T const term_scale(1.0 / x.rows);
    for (int first = 0; first < x.rows; first += Form::rows) {
        row<Group, T, E> z, dz;
        gate_about<Group, T, E, S> about;
        fill<Form>(group, z, x.z.data(), first, x.rows, E);
        fill<Form>(group, about.noise, x.eps.data(), first, x.rows, E);
        fill<Form>(group, about.noise_logits, x.raw.data(), first, x.rows, E);
        for (int s = 0; s < S; ++s)
            fill<Form>(group, about.slope[s], slopes.data() + s * E, first, x.rows, 0);
        if constexpr (Gate::slot_is_expert) {
            row<Group, T, E> chosen, dchosen;
            fill<Form>(group, chosen, out.g.data(), first, x.rows, E);
            fill<Form>(group, dchosen, x.cost.data(), first, x.rows, E);
            op.backward(group, z, chosen, dchosen, term_scale, dz, about);
        } else {
            gate_slots<T, slots> chosen;
            T dweight[slots];
            for (int k = 0; k < slots; ++k)
                for (int r = 0; r < Form::rows; ++r) {
                    int const from = first + r < x.rows ? first + r : 0;
                    auto const at = static_cast<std::size_t>(from * slots + k);
                    auto const expert = static_cast<std::size_t>(t.expert[at]);
                    double const d = t.weight[at] == 0.0 ? nan_value // nobody knows
                                                         : x.cost[static_cast<std::size_t>(from * E) + expert];
                    if constexpr (std::is_same_v<Form, sixteen>) {
                        chosen.weight[k].set(r, t.weight[at]);
                        chosen.expert[k].set(r, t.expert[at]);
                        dweight[k].set(r, d);
                    } else {
                        chosen.weight[k] = T(t.weight[at]);
                        chosen.expert[k] = T(t.expert[at]);
                        dweight[k] = T(d);
                    }
                }
            op.backward(group, z, chosen, dweight, term_scale, dz, about);
        }
        keep<Form>(group, dz, out.dz.data(), first, x.rows, E);
        if constexpr (Op::needs.noise_logits) keep<Form>(group, about.dnoise_logits, out.draw.data(), first, x.rows, E);
    }
}

/// Forward, finish and backward. `each` runs a function with the group of the form.
template <class Form, class Gate, class Op, class Each> outcome pass(Op const& op, inputs const& x, Each const& each) {
    constexpr std::size_t E = Gate::experts, S = Op::needs.statistics;
    auto const n = static_cast<std::size_t>(x.rows);
    outcome out{numbers(n * E), numbers(n * E, -7.0), numbers(n * E, -7.0), numbers(n * S * E), numbers(S * E)};
    tape t{numbers(n * Gate::slots), numbers(n * Gate::slots), numbers(n)};
    each([&](auto const& group) { forward_rows<Form, Gate>(group, op, x, out, t); });
    numbers slopes(S * E, -7.0);
    for (double const share : t.share)
        out.term += share / x.rows;
    for (std::size_t r = 0; r < n; ++r)
        for (std::size_t i = 0; i < S * E; ++i)
            out.sums[i] += out.statistics[r * S * E + i];
    if constexpr (S > 0) out.term += op.finish(out.sums.data(), x.rows, slopes.data());
    each([&](auto const& group) { backward_rows<Form, Gate>(group, op, x, out, t, slopes); });
    return out;
}

template <class Form, class Gate> outcome pass(inputs const& x) {
    return pass<Form, Gate>(Gate::at(espalier::clock{}), x, [](auto const& body) { body(typename Form::group{}); });
}

double loss(outcome const& out, inputs const& x) {
    double sum = out.term;
    for (std::size_t i = 0; i < out.g.size(); ++i)
        sum += x.cost[i] * out.g[i];
    return sum;
}

/// Everything `backward` gives against central differences of the loss.
template <class Gate> void check_gradient() {
    inputs x = some<Gate::experts>(7);
    outcome const out = pass<single, Gate>(x);
    double worst = 0.0, largest = 0.0;
    auto const compare = [&](numbers& of, numbers const& gradient) {
        for (std::size_t i = 0; i < of.size(); ++i) {
            double const old = of[i], h = 1e-5;
            of[i] = old + h;
            double const above = loss(pass<single, Gate>(x), x);
            of[i] = old - h;
            double const below = loss(pass<single, Gate>(x), x);
            of[i] = old;
            worst = std::max(worst, std::abs((above - below) / (2 * h) - gradient[i]));
            largest = std::max(largest, std::abs(gradient[i]));
        }
    };
    compare(x.z, out.dz);
    if constexpr (Gate::op::needs.noise_logits) compare(x.raw, out.draw);
    INFO("experts " << Gate::experts << ", slots " << Gate::slots << ": worst " << worst << ", largest gradient "
                    << largest);
    CHECK(worst < 2e-9);
    if (Gate::experts > 1) CHECK(largest > 1e-3);
}

void expect_same(numbers const& a, numbers const& b, double tolerance, char const* what) {
    double worst = 0.0;
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        bool const both_nan = std::isnan(a[i]) && std::isnan(b[i]);
        double const d = both_nan ? 0.0 : std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
        worst = std::isnan(d) ? infinity : std::max(worst, d);
    }
    INFO(what << " differ by " << worst);
    CHECK(worst <= tolerance);
}

void expect_same(outcome const& a, outcome const& b, double tolerance) {
    expect_same(a.g, b.g, tolerance, "weights");
    expect_same(a.statistics, b.statistics, tolerance, "statistics");
    expect_same(a.dz, b.dz, tolerance, "gradients of the logits");
    expect_same(a.draw, b.draw, tolerance, "gradients of the noise's scale");
    expect_same(numbers{a.term}, numbers{b.term}, tolerance, "terms");
}

template <std::uint32_t Lanes, class Gate> outcome by_tiles(inputs const& x) {
    return pass<single, Gate>(Gate::at(espalier::clock{}), x, [&](auto const& body) {
        emulated_launch<32>(1, [&](auto& block) {
            auto const group = block.template tile<Lanes>();
            if (group.group_rank() == 0) body(group);
        });
    });
}

/// Sixteen rows at once, one row over a pack, and one row over the lanes of a tile.
template <class Gate> void check_forms(inputs const& x) {
    outcome const one = pass<single, Gate>(x);
    CAPTURE(Gate::experts, Gate::slots);
    expect_same(pass<sixteen, Gate>(x), one, 4e-16);
    expect_same(pass<across, Gate>(x), one, 1e-14);
    expect_same(by_tiles<4, Gate>(x), one, 1e-14);
    if constexpr (Gate::experts > 8) expect_same(by_tiles<32, Gate>(x), one, 1e-14);
}

/// A user's term without numbers of its own: the mean over rows of sum_l H_l^2.
struct small_scores {
    static constexpr gate::part_kind kind = gate::part_kind::term;

    template <class Group, class State> static auto share(Group const& group, State const& s) {
        return row_dot(group, s.noisy, s.noisy);
    }
    template <class Group, class State, class Row, class T, class Gradient>
    static void backward(Group const&, State const& s, Row const*, T const& term_scale, Gradient& d) {
        for (int i = 0; i < s.noisy.local; ++i)
            d.noisy.v[i] += T(2.0) * term_scale * s.noisy.v[i];
    }
};

using everything =
    gate::top_k<5, 2, gate::learned_noise, gate::temperature<0.7>, gate::importance<0.3>, gate::load<0.4>,
                gate::balance<0.2>, gate::z_loss<0.1>, gate::entropy<-0.3>, gate::over_all>;

} // namespace

TEST_CASE("parts: a gate without them is what it was", "[gate][parts]") {
    STATIC_REQUIRE(std::is_same_v<op_of<gate::top_k<8, 2>>, gate::top_k<8, 2>>);
    STATIC_REQUIRE(std::is_same_v<op_of<gate::top_k<8, 2, gate::over_all>>, gate::top_k<8, 2, gate::over_all>>);
    STATIC_REQUIRE(std::is_same_v<op_of<gate::softmax<8>>, gate::softmax<8>>);
    STATIC_REQUIRE(espalier::detail::gate_needs_of<gate::top_k<8, 2>>() == gate_needs{});
    STATIC_REQUIRE(!espalier::detail::gate_has_term<gate::top_k<8, 2>>());
    STATIC_REQUIRE(gate_policy<gate::top_k<8, 2>>);
    STATIC_REQUIRE(std::is_empty_v<gate::top_k<8, 2>>);
}

TEST_CASE("parts: what a gate of them needs", "[gate][parts]") {
    STATIC_REQUIRE(gate_policy<everything>);
    STATIC_REQUIRE(everything::logits == 10);
    STATIC_REQUIRE(everything::op::needs == gate_needs{true, true, 4});
    STATIC_REQUIRE(everything::op::has_term);
    STATIC_REQUIRE(std::is_trivially_copyable_v<everything::op>);
    STATIC_REQUIRE(std::is_aggregate_v<everything::op>);
    STATIC_REQUIRE(std::is_same_v<everything::initial, initial::zeros>);
    using warm = gate::top_k<5, 2, gate::temperature<2.0>>;
    STATIC_REQUIRE(warm::op::needs == gate_needs{});
    STATIC_REQUIRE(!warm::op::has_term);
    STATIC_REQUIRE(warm::logits == 5);
    using trembling = gate::softmax<4, gate::entropy<0.1>, gate::jitter<0.5>>;
    STATIC_REQUIRE(trembling::op::needs == gate_needs{true, false, 0});
    STATIC_REQUIRE(trembling::logits == 4);
    // Numbers are no part of the type.
    STATIC_REQUIRE(std::is_same_v<warm::op, gate::top_k<5, 2, gate::temperature<0.1>>::op>);
}

TEST_CASE("parts: published numbers of noisy top-2", "[gate][parts]") {
    inputs const x{3,
                   {1, .5, -.2, .1, .3, -.4, .8, .2, -.1, .6, .55, -.3},
                   {0, .5, -1, .2, .1, .1, -.3, .4, -.5, 0, .3, .2},
                   {.2, -.7, 1.1, .4, -.3, .9, .1, -1.2, .5, -.2, .6, .8},
                   numbers(12)};
    using of_importance = gate::top_k<4, 2, gate::learned_noise, gate::importance<1.0>, gate::load<0.0>>;
    using of_load = gate::top_k<4, 2, gate::load<1.0>, gate::learned_noise, gate::importance<0.0>>;
    outcome const a = pass<single, of_importance>(x), b = pass<single, of_load>(x);
    double const g[] = {0.672028467, 0, 0, 0.327971533, 0, 0.35951299, 0.64048701, 0, 0, 0.352231994, 0.647768006, 0};
    double const p[] = {0.885105746, 0.531080496, 0.026926214, 0.472580367, 0.511126582, 0.265036749,
                        0.900950941, 0.465915071, 0.123934577, 0.640765682, 0.593059692, 0.173697647};
    double const importance[] = {0.672028467, 0.711744984, 1.288255016, 0.327971533};
    double const load[] = {1.520166905, 1.436882928, 1.520936846, 1.112193085};
    for (std::size_t i = 0; i < 12; ++i) {
        CHECK(a.g[i] == Approx(g[i]).epsilon(0).margin(6e-10));
        CHECK(a.statistics[i / 4 * 8 + 4 + i % 4] == Approx(p[i]).epsilon(0).margin(6e-10));
        CHECK(b.statistics[i / 4 * 8 + i % 4] == Approx(p[i]).epsilon(0).margin(6e-10)); // in the order of the parts
    }
    for (std::size_t l = 0; l < 4; ++l) {
        CHECK(a.sums[l] == Approx(importance[l]).epsilon(0).margin(2e-9));
        CHECK(a.sums[4 + l] == Approx(load[l]).epsilon(0).margin(2e-9));
    }
    CHECK(a.term == Approx(0.211275331).epsilon(0).margin(6e-10));
    CHECK(b.term == Approx(0.014494012).epsilon(0).margin(6e-10));

    // H itself: what z_loss of one expert's row would square, by way of a gate that takes every expert
    double const h[] = {1.140629436, -0.188853889, 0.155587856, 0.423255548, 0.073681002, 0.278956994,
                        0.856435524, -0.907618303, 0.142038492, 0.459370564, 1.068613147, 0.346511096};
    for (std::size_t i = 0; i < 12; ++i) {
        inputs const one{1, {x.z[i]}, {x.raw[i]}, {x.eps[i]}, {0.0}};
        using of_one = gate::softmax<1, gate::learned_noise, gate::z_loss<1.0>>;
        CHECK(pass<single, of_one>(one).term == Approx(h[i] * h[i]).epsilon(0).margin(3e-9));
    }
}

TEST_CASE("parts: noise of any scale leaves finite logits", "[gate][parts]") {
    outcome const wide = pass<single, gate::softmax<4, gate::jitter<1.7e308>>>(some<4>(8));
    for (std::size_t r = 0; r < 8; ++r) {
        double sum = 0.0;
        for (std::size_t e = 0; e < 4; ++e)
            sum += wide.g[4 * r + e];
        CHECK(sum == 1.0); // the largest of the noise takes the row
    }
    struct {
        row<serial_group, float, 4> noise;
    } about;
    struct {
        row<serial_group, float, 4> clean, noisy;
    } state;
    for (int i = 0; i < 4; ++i) {
        about.noise.v[i] = static_cast<float>(i) * 2.2f - 6.7f;
        state.clean.v[i] = 3.0f;
    }
    about.noise.v[3] = 0.0f;
    gate::jitter<1e300>::at({}).disturb(serial_group{}, about, state);
    for (int i = 0; i < 4; ++i)
        CHECK(std::isfinite(state.noisy.v[i]));
    CHECK(state.noisy.v[3] == 3.0f);
    CHECK(state.noisy.v[1] < state.noisy.v[2]);
}

TEST_CASE("parts: published numbers of plain top-2 and of the balance of top-1", "[gate][parts]") {
    inputs x{3, {1, .5, -.2, .1, .3, -.4, .8, .2, -.1, .6, .55, -.3}, numbers(12), numbers(12), {}};
    for (int r = 0; r < 3; ++r)
        x.cost.insert(x.cost.end(), {1, -1, .5, 2});
    double const g[] = {0.622459331, 0.377540669, 0, 0, 0.377540669, 0, 0.622459331, 0, 0, 0.512497396, 0.487502604, 0};
    double const dh[] = {0.470007424, -0.470007424, 0,           0, 0.117501856, 0, -0.117501856, 0,
                         0,           -0.374765723, 0.374765723, 0};
    outcome const plain = pass<single, gate::top_k<4, 2, gate::temperature<1.0>>>(x);
    outcome const scaled = pass<single, gate::top_k<4, 2, gate::temperature<0.5>>>(x);
    outcome const level = pass<single, gate::top_k<4, 2, gate::jitter<1.0>>>(x); // eps = 0: evaluation
    for (std::size_t i = 0; i < 12; ++i) {
        CHECK(plain.g[i] == Approx(g[i]).epsilon(0).margin(6e-10));
        CHECK(plain.dz[i] == Approx(dh[i]).epsilon(0).margin(6e-10));
        CHECK(level.g[i] == Approx(g[i]).epsilon(0).margin(6e-10));
        CHECK(level.dz[i] == Approx(dh[i]).epsilon(0).margin(6e-10));
    }
    CHECK(scaled.g[0] == Approx(1.0 / (1.0 + std::exp(-1.0))).epsilon(1e-14));
    CHECK(pass<single, gate::top_k<4, 1, gate::balance<1.0>>>(x).term == Approx(1.092656364).epsilon(0).margin(6e-10));
    // n rows, each preferring another one of n experts: exactly the coefficient, for every K
    inputs equal{4, numbers(16), numbers(16), numbers(16), numbers(16)};
    for (std::size_t r = 0; r < 4; ++r)
        for (std::size_t k = 0; k < 3; ++k)
            equal.z[r * 4 + (r + k) % 4] = 2.0 - 0.5 * static_cast<double>(k);
    CHECK(pass<single, gate::top_k<4, 1, gate::balance<0.5>>>(equal).term == Approx(0.5).epsilon(1e-14));
    CHECK(pass<single, gate::top_k<4, 3, gate::balance<0.5>>>(equal).term == Approx(0.5).epsilon(1e-14));
    CHECK(pass<single, gate::top_k<4, 2, gate::importance<0.5>>>(equal).term == Approx(0.0).margin(1e-14));
}

TEST_CASE("parts: over all is the plain gate's over all", "[gate][parts]") {
    inputs const x = some<5>(9);
    outcome const got = pass<single, gate::top_k<5, 2, gate::over_all, gate::temperature<1.0>>>(x);
    gate::top_k<5, 2, gate::over_all> const plain{};
    for (std::size_t r = 0; r < 9; ++r) {
        row<serial_group, double, 5> z, dz;
        for (std::size_t e = 0; e < 5; ++e)
            z.v[e] = x.z[r * 5 + e];
        gate_slots<double, 2> chosen;
        plain.route(serial_group{}, z, chosen);
        double dweight[2];
        for (int k = 0; k < 2; ++k) {
            auto const at = r * 5 + static_cast<std::size_t>(chosen.expert[k]);
            CHECK(got.g[at] == chosen.weight[k]);
            dweight[k] = x.cost[at];
        }
        plain.backward(serial_group{}, z, chosen, dweight, 0.0, dz);
        for (std::size_t e = 0; e < 5; ++e)
            CHECK(got.dz[r * 5 + e] == Approx(dz.v[e]).epsilon(1e-13).margin(1e-15));
    }
}

TEMPLATE_TEST_CASE("parts: gradients of each part against central differences", "[gate][parts]",
                   (gate::top_k<4, 2, gate::temperature<0.6>>), (gate::top_k<4, 2, gate::learned_noise>),
                   (gate::top_k<4, 2, gate::jitter<0.5>>), (gate::top_k<4, 2, gate::jitter<0.5>, gate::over_all>),
                   (gate::top_k<4, 2, gate::importance<0.7>>),
                   (gate::top_k<4, 2, gate::importance<0.7>, gate::over_all>),
                   (gate::top_k<4, 2, gate::load<0.7>, gate::learned_noise>), (gate::top_k<4, 2, gate::balance<0.7>>),
                   (gate::top_k<4, 2, gate::z_loss<0.7>>), (gate::top_k<4, 2, gate::entropy<0.7>>),
                   (gate::softmax<4, gate::temperature<3.0>>), (gate::softmax<4, gate::learned_noise>),
                   (gate::softmax<4, gate::importance<0.7>>), (gate::softmax<4, gate::entropy<-0.7>>),
                   (gate::softmax<4, gate::z_loss<0.7>>)) {
    check_gradient<TestType>();
}

TEMPLATE_TEST_CASE(
    "parts: gradients of all parts together against central differences", "[gate][parts]", everything,
    (gate::top_k<4, 1, gate::learned_noise, gate::temperature<0.7>, gate::importance<0.3>, gate::load<0.4>,
                 gate::balance<0.2>, gate::z_loss<0.1>>),
    (gate::top_k<4, 1, gate::over_all, gate::learned_noise, gate::entropy<0.3>, gate::load<0.4>, gate::balance<0.2>,
                 gate::z_loss<0.1>>),
    (gate::top_k<5, 4, gate::learned_noise, gate::importance<0.3>, gate::load<0.4>, gate::balance<0.2>,
                 gate::entropy<0.2>>),
    (gate::top_k<5, 4, gate::over_all, gate::jitter<0.4>, gate::importance<0.3>, gate::balance<0.2>,
                 gate::entropy<0.2>>),
    (gate::top_k<4, 4, gate::learned_noise, gate::importance<0.3>, gate::z_loss<0.3>, gate::entropy<0.2>>),
    (gate::softmax<1, gate::learned_noise, gate::importance<0.3>, gate::z_loss<0.3>, gate::entropy<0.2>>),
    (gate::softmax<5, gate::learned_noise, gate::temperature<2.0>, gate::importance<0.3>, gate::z_loss<0.3>,
                   gate::entropy<0.2>>),
    (gate::softmax<5, gate::jitter<0.3>, gate::importance<0.3>>)) {
    check_gradient<TestType>();
}

TEST_CASE("parts: a part of one's own", "[gate][parts]") {
    using gate_type = gate::top_k<4, 2, gate::temperature<0.5>, small_scores>;
    STATIC_REQUIRE(gate_type::op::has_term);
    inputs const x{2, {1, 2, -1, 0, 0, 0, 3, 0}, numbers(8), numbers(8), numbers(8)};
    CHECK(pass<single, gate_type>(x).term == 30.0); // 4 (6 + 9) / 2
    check_gradient<gate_type>();
}

TEMPLATE_TEST_CASE("parts: every form of a row", "[gate][parts]", everything,
                   (gate::top_k<4, 3, gate::jitter<0.4>, gate::balance<0.2>, gate::over_all>),
                   (gate::top_k<8, 2, gate::temperature<0.5>>),
                   (gate::top_k<40, 2, gate::learned_noise, gate::load<0.4>, gate::importance<0.2>, gate::balance<0.3>,
                                gate::z_loss<0.1>, gate::entropy<0.1>>),
                   (gate::softmax<5, gate::learned_noise, gate::importance<0.3>, gate::z_loss<0.2>>),
                   (gate::softmax<40, gate::temperature<2.0>, gate::jitter<0.3>, gate::entropy<0.2>>)) {
    check_forms<TestType>(some<TestType::experts>(19));
}

TEST_CASE("parts: ties, shut experts and rows without a choice", "[gate][parts]") {
    using gate_type = gate::top_k<5, 2, gate::learned_noise, gate::importance<0.3>, gate::load<0.4>, gate::balance<0.2>,
                                  gate::z_loss<0.1>, gate::entropy<0.3>>;
    inputs x = some<5>(6);
    for (std::size_t e = 0; e < 5; ++e) {
        x.z[e] = x.eps[e] = 0.0;                           // row 0: the beginning, all equal
        if (e > 1) x.z[5 + e] = -infinity;                 // row 1: as many experts as winners
        if (e != 3) x.z[10 + e] = -infinity;               // row 2: one expert
        if (e < 4) x.z[15 + e] = 1.0, x.eps[15 + e] = 0.0; // row 3: ties at the threshold
        if (e == 2) x.z[20 + e] = -infinity;               // row 4: one shut
    }
    outcome const out = pass<single, gate_type>(x);
    CHECK(out.g[0] == 0.5);
    CHECK(out.g[1] == 0.5);
    CHECK(out.g[2] == 0.0);
    CHECK(out.g[10 + 3] == 1.0);
    CHECK(out.g[10] == 0.0);
    CHECK(std::isfinite(out.term));
    for (std::size_t i = 0; i < 30; ++i) {
        CAPTURE(i / 5, i % 5);
        CHECK(std::isfinite(out.dz[i]));
        CHECK(std::isfinite(out.draw[i]));
        bool const shut = x.z[i] == -infinity;
        if (shut) CHECK(out.dz[i] == 0.0);
        if (shut) CHECK(out.draw[i] == 0.0);
        if (shut) CHECK(out.statistics[i / 5 * 20 + 5 + i % 5] == 0.0); // never loaded
    }
    for (std::size_t e = 0; e < 5; ++e)
        CHECK(out.statistics[5 + e] == 0.5); // P at a tie of all
    CHECK(out.statistics[20 + 5] == 1.0);    // no one else could win
    check_forms<gate_type>(x);
    // A NaN is not hidden.
    x.z[27] = nan_value;
    CHECK(std::isnan(pass<single, gate_type>(x).term));
    CHECK(std::isnan(pass<single, gate::top_k<5, 2, gate::learned_noise, gate::load<0.4>>>(x).term));
}

TEST_CASE("parts: a winner counts however small its weight", "[gate][parts]") {
    // Two winners a row, one of them so far below the other that its weight is rounded to 0; 1 and 3 are the same
    // experts the other way round.
    inputs x{4,
             {0, -800, -900, -901, -800, 0, -900, -901, -900, 5, 4.5, -901, 1, -800, -900, -901},
             numbers(16),
             numbers(16),
             numbers(16)};
    using gate_type = gate::top_k<4, 2, gate::balance<1.0>>;
    outcome const out = pass<single, gate_type>(x);
    CHECK(out.g[0] == 1.0);
    CHECK(out.g[1] == 0.0);
    double const half[4][4] = {{.5, .5, 0, 0}, {.5, .5, 0, 0}, {0, .5, .5, 0}, {.5, .5, 0, 0}};
    for (std::size_t r = 0; r < 4; ++r)
        for (std::size_t e = 0; e < 4; ++e)
            CHECK(out.statistics[r * 8 + e] == half[r][e]);
    // f = (3, 4, 1, 0) / 8, Pbar = (2, 1 + p, 1 - p, 0) / 4 with p the softmax of 5 and 4.5
    double const p = 1.0 / (1.0 + std::exp(-0.5));
    CHECK(out.term == Approx((3.0 * 2.0 + 4.0 * (1.0 + p) + (1.0 - p)) / 8.0).epsilon(1e-14));
    check_forms<gate_type>(x);
    check_forms<gate::top_k<4, 2, gate::balance<1.0>, gate::over_all, gate::jitter<0.1>>>(x);
    // No winner at all, or fewer than there are slots: nobody is counted twice, a shut expert never.
    inputs few{2,
               {-infinity, 3, -infinity, -infinity, -infinity, -infinity, -infinity, 2},
               numbers(8),
               numbers(8),
               numbers(8)};
    outcome const shut = pass<single, gate_type>(few);
    double const expected[2][4] = {{0, .5, 0, 0}, {0, 0, 0, .5}};
    for (std::size_t r = 0; r < 2; ++r)
        for (std::size_t e = 0; e < 4; ++e)
            CHECK(shut.statistics[r * 8 + e] == expected[r][e]);
    check_forms<gate_type>(few);
}

TEST_CASE("parts: the squared coefficient of variation", "[gate][parts]") {
    double const v[] = {1.0, 2.0, 4.0, 5.0};
    double slopes[4];
    // mean 3, population variance 10 / 4
    CHECK(gate::squared_variation<4>(2.0, v, slopes) == Approx(2.0 * 2.5 / 9.0).epsilon(1e-10));
    CHECK(slopes[0] == Approx(2.0 * (2.0 * (1.0 - 3.0) - 2.0 * 2.5 * 3.0 / 9.0) / 4.0 / 9.0).epsilon(1e-10));
    double const none[] = {0.0, 0.0, 0.0};
    CHECK(gate::squared_variation<3>(1.0, none, slopes) == 0.0);
    CHECK(slopes[1] == 0.0);
    double const alone[] = {7.0};
    CHECK(gate::squared_variation<1>(1.0, alone, slopes) == 0.0);
    CHECK(slopes[0] == 0.0);
}

TEST_CASE("parts: numbers follow their schedules", "[gate][parts]") {
    constexpr schedule::linear falling{.from = 2.0, .to = 1.0, .steps = 10};
    using gate_type = gate::softmax<3, gate::temperature<falling>, gate::entropy<falling>>;
    espalier::clock now{};
    CHECK(get<0>(gate_type::at(now).parts).inverse == 0.5);
    CHECK(get<1>(gate_type::at(now).parts).coefficient == 2.0);
    now.step = 10;
    CHECK(get<0>(gate_type::at(now).parts).inverse == 1.0);
    CHECK(get<1>(gate_type::at(now).parts).coefficient == 1.0);
}
