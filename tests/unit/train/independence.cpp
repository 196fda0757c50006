// SPDX-License-Identifier: Apache-2.0
// Every random policy of a stack has bits of its own. A device that notes the sites it is given tells which ones the
// library makes; any two of them must give uncorrelated draws.
#include <espalier/activation/tanh.hpp>
#include <espalier/batch/cutmix.hpp>
#include <espalier/batch/mix.hpp>
#include <espalier/batch/mixup.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/tables.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/epoch_log.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/gradient_dropout.hpp>

#include <support/catch.hpp>
#include <support/sanitized.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

using namespace espalier;

namespace {

struct noted {
    std::string what;
    random_site site;
};
std::vector<noted> sites;

void note_site(std::string what, random_site const& site, int number = 0) {
    if (site == random_site{}) return; // of what is filled without bits
    random_site its = site;
    its.pass += static_cast<std::uint32_t>(number);
    sites.push_back({std::move(what), its});
}

/// The CPU, which notes every site.
class noting_cpu : public device::cpu {
public:
    using device::cpu::cpu;

    template <class Op, class T>
    void epilogue_forward(Op const& op, matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                          rows const& batch, epilogue_statistics<T> statistics) {
        if constexpr (Op::scope != random_scope::none) note_site("dropout", site);
        device::cpu::epilogue_forward(op, z, y, site, batch, statistics);
    }
    template <class T, class Optimizer, class Rule>
    void update(Optimizer const& optimizer, Rule const& rule, update_segment<T> segment, double const* squared_norm) {
        for (int k = 0; !std::is_same_v<Optimizer, no_step> && k < Rule::draws; ++k)
            note_site("transform " + std::to_string(k), segment.site, k);
        device::cpu::update(optimizer, rule, segment, squared_norm);
    }
    template <class Fill, class T> void initialise(Fill const& fill, matrix_view<T> w, random_site const& site) {
        note_site("initial values", site);
        device::cpu::initialise(fill, w, site);
    }
    template <class Gate, class T, class Op>
    void route(Op const& op, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts,
               gate_run const& run) {
        if constexpr (detail::gate_needs_of<Op>().noise) note_site("noise of a gate", run.site);
        device::cpu::route<Gate>(op, logits, weights, experts, run);
    }
    template <class Op, class T>
    void soft_permutation(Op const& op, int n, T const* scores, random_site const& site, double* noisy,
                          double* potentials, double* soft, T* permutation, double* term) {
        note_site("noise of a search", site);
        device::cpu::soft_permutation(op, n, scores, site, noisy, potentials, soft, permutation, term);
    }
};

constexpr long draws = sanitized ? 80 * 1000 : 1000 * 1000;
/// Correlations of independent draws have a standard deviation of 1 / sqrt(draws): five of them.
double const limit = 5.0 / std::sqrt(static_cast<double>(draws));

/// The largest correlation between the draws of any two sites, each over the same rows and columns.
double largest_correlation(std::string& where) {
    constexpr index_t blocks = 125, rows_at_once = 8;
    auto const n = sites.size();
    std::vector<std::vector<float>> value(n, std::vector<float>(static_cast<std::size_t>(rows_at_once * blocks * 8)));
    std::vector<std::uint16_t> bits(value[0].size());
    std::vector<double> sum(n * n, 0.0);
    for (index_t r = 0; r < draws / (blocks * 8); r += rows_at_once) {
        for (std::size_t i = 0; i < n; ++i) {
            fill_bits(sites[i].site, static_cast<std::uint32_t>(r), rows_at_once, 0, blocks, bits.data());
            for (std::size_t k = 0; k < bits.size(); ++k)
                value[i][k] = (static_cast<float>(bits[k]) - 32767.5f) * 0x1p-16f;
        }
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t j = 0; j < i; ++j) {
                float lane[16] = {};
                for (std::size_t k = 0; k < bits.size(); k += 16)
                    for (std::size_t l = 0; l < 16 && k + l < bits.size(); ++l)
                        lane[l] += value[i][k + l] * value[j][k + l];
                for (float const s : lane)
                    sum[i * n + j] += static_cast<double>(s);
            }
    }
    double most = 0.0;
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < i; ++j) {
            double const found = std::fabs(sum[i * n + j]) * 12.0 / static_cast<double>(draws);
            if (found > most) {
                most = found;
                where = sites[i].what + " and " + sites[j].what;
            }
        }
    return most;
}

template <class... Transforms> using twice_random = dense<8, activation::tanh, dropout::bernoulli<0.5>, Transforms...>;

} // namespace

TEST_CASE("any two random policies of a stack have uncorrelated bits", "[train][random]") {
    constexpr gate::search apart{.apart = true, .noise = 0.5};
    using expert = sequence<dense<8, dropout::bernoulli<0.3>>, dense<8, dropout::drop_path<0.3>>>;
    using stack = sequence<
        input<8>, twice_random<transform::gradient_dropout<0.5>, transform::gradient_dropout<0.25>>,
        residual<twice_random<transform::gradient_dropout<0.5>, transform::gradient_dropout<0.25>>,
                 elementwise<dropout::drop_path<0.2>>>,
        moe<gate::top_k<3, 2, gate::jitter<1.0>>, expert>, moe<gate::top_k<3, 2, gate::learned_noise>, expert>,
        moe<gate::local_search<gate::comet<4, 2>, apart>, dense<8>>, moe<gate::hash<3, 50>, dense<8>>,
        multi_sample<2, elementwise<dropout::bernoulli<0.5>>,
                     multi_sample<3, elementwise<dropout::bernoulli<0.5>>, dense<4, dropout::drop_path<0.5>>>>>;
    sites.clear();
    network<stack, noting_cpu, float> net(seed{11}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.01});
    std::vector<float> x(16 * 8);
    std::vector<std::int32_t> labels(16);
    std::vector<std::uint64_t> keys(16);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = std::sin(static_cast<float>(i));
    for (std::size_t i = 0; i < labels.size(); ++i) {
        labels[i] = static_cast<std::int32_t>(i % 4);
        keys[i] = i;
    }
    rows tags;
    tags.count = 16;
    tags.label = labels.data();
    tags.key = keys.data();
    run.step({contiguous_view<float const>(x.data(), 16, 8), tags, {}});

    auto const count = [](std::string_view what) {
        return std::count_if(sites.begin(), sites.end(), [&](noted const& n) { return n.what == what; });
    };
    // Layers that draw: 2, the path, 2 for each of 6 experts, 2 samples, 3 within each of them and as many heads.
    CHECK(count("dropout") == 3 + 12 + 2 + 6 + 6);
    CHECK(count("transform 0") == 4);
    CHECK(count("transform 1") == 4);
    CHECK(count("noise of a gate") == 2);
    CHECK(count("noise of a search") == 2);
    CHECK(count("initial values") > 20);
    // What a training draws beside its network, at the same step; the tables and the check with the same seed.
    note_site("order of the rows", make_site(11, detail::order_stream, 0));
    note_site("batch", make_site(11, detail::batch_stream, 0));
    note_site("random table", make_site(11, gate::detail::random_table_stream));
    note_site("clustered table", make_site(11, gate::detail::clustered_table_stream));
    note_site("data of a check", make_site(11, detail::check_stream));
    // A second step and a second pass of the first one.
    for (std::uint64_t step : {0, 1})
        note_site("another time", make_site(11, 7, step, step == 0 ? 1 : 0));

    for (std::size_t i = 0; i < sites.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (sites[i].site == sites[j].site) FAIL_CHECK(sites[i].what << " has the bits of " << sites[j].what);
    std::string where;
    double const most = largest_correlation(where);
    CAPTURE(where);
    CHECK(most < limit);
    CHECK(most > 0.0);
}

TEST_CASE("stacked gradient dropouts leave the expected gradient as it is", "[train][random][transform]") {
    constexpr index_t n = draws;
    std::vector<float> w(static_cast<std::size_t>(n), 0.0f), g(w.size(), 1.0f), reference(w.size(), -3.0f);
    auto const mean_kept = [&]<class... Ops>(Ops const&... ops) {
        tensor_rule<op_of<weight::identity>, flat_tuple<>, flat_tuple<Ops...>> rule{};
        rule.transforms = flat_tuple<Ops...>{{{ops}...}};
        std::fill(w.begin(), w.end(), 0.0f);
        update_segment<float> s;
        s.rows = 1;
        s.columns = n;
        s.weights = w.data();
        s.gradients = g.data();
        s.reference = reference.data();
        s.site = make_site(3, 5, 8);
        cpu::update(optimizer::sgd_op<optimizer::momentum_kind::none>{1.0, 0.0, 0.0}, rule, s);
        double sum = 0.0;
        for (float v : w)
            sum -= static_cast<double>(v);
        return sum / static_cast<double>(n);
    };
    auto const half = op_at<transform::gradient_dropout<0.5>>({});
    auto const quarter = op_at<transform::gradient_dropout<0.25>>({});
    auto const tenth = op_at<transform::gradient_dropout<0.1>>({});
    auto const agree = op_at<transform::agreement<1.0>>({});
    // (g' / g)^2 has the expectation 1 / prod (1 - p): five standard deviations of the mean.
    auto const five = [](double kept) { return 5.0 * std::sqrt((1.0 / kept - 1.0) / static_cast<double>(draws)); };
    CHECK(std::fabs(mean_kept(half) - 1.0) < five(0.5));
    CHECK(std::fabs(mean_kept(half, quarter) - 1.0) < five(0.5 * 0.75));
    CHECK(std::fabs(mean_kept(quarter, half) - 1.0) < five(0.5 * 0.75));
    CHECK(std::fabs(mean_kept(half, half) - 1.0) < five(0.25));
    CHECK(std::fabs(mean_kept(half, quarter, tenth) - 1.0) < five(0.5 * 0.75 * 0.9));
    // sgn(a) (a + b) / (|a| + |b|) = -1/2: kept with a probability of 1/4, and of those one in two, doubled.
    double const spread = 5.0 * std::sqrt((0.25 * 2.0 - 0.25 * 0.25) / static_cast<double>(draws));
    CHECK(std::fabs(mean_kept(agree, half) - 0.25) < spread);

    // One alone has the bits that it always had: draw number 0.
    mean_kept(half);
    bool same = true;
    for (index_t i = 0; i < n; ++i) {
        auto const bits = draw(make_site(3, 5, 8), 0, static_cast<std::uint32_t>(i / 8))[static_cast<int>(i % 8)];
        same &= w[static_cast<std::size_t>(i)] == (bits >= 32768 ? -2.0f : 0.0f);
    }
    CHECK(same);
}

TEST_CASE("what mixes a batch decides about shares, places and partners by other bits", "[train][random][batch]") {
    random_site const site = make_site(4, detail::batch_stream, 6);
    // Row by row: the share by the first 53 bits of one draw, the centre by those of another, the decision and the
    // partners by two more. The order of the partners uses words of (row / 2, block 0).
    struct sums {
        double product = 0.0, second = 0.0, other = 0.0;
    } s;
    constexpr std::uint32_t n = 1000 * 1000;
    for (std::uint32_t row = 0; row < n; ++row) {
        double const share = batch::symmetric_beta(site, row, batch::detail::share_block, 1.0) - 0.5;
        bits8 const centre = draw(site, row, batch::detail::place_block), order = draw(site, row, 0),
                    decision = draw(site, row, batch::detail::decision_block);
        auto const part = [](bits8 const& b) { return uniform01(b.word[0], b.word[1]) - 0.5; };
        s.product += share * part(centre);
        s.second += share * part(order);
        s.other += part(centre) * part(decision);
    }
    for (double const sum : {s.product, s.second, s.other})
        CHECK(std::fabs(sum) * 12.0 / n < limit);
}

TEST_CASE("a stack with several samples has its share of the passes of a step", "[train][random]") {
    using stack = sequence<input<2>, multi_sample<4, dense<2, dropout::bernoulli<0.5>>>>;
    network<stack, device::cpu, float> net(seed{1}, 4);
    std::vector<float> x(4 * 2, 1.0f), y(16 * 2), z(y.size());
    rows tags;
    tags.count = 4;
    auto const numbers = network<stack, device::cpu, float>::layer::at({});
    auto const forward = [&](std::uint32_t pass, std::vector<float>& to) {
        net.forward<mode::train>(numbers, tags, contiguous_view<float const>(x.data(), 4, 2),
                                 contiguous_view(to.data(), 16, 2), 0, pass);
    };
    forward(16383, y);
    CHECK_THROWS_AS(forward(16384, y), data_error);
}
