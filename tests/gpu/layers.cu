// SPDX-License-Identifier: Apache-2.0
// Layers that the CPU runs with loops of its own, on a GPU: a few steps of training and a prediction of whole stacks
// against the same stacks on the CPU, and the same bits for every number of blocks.
// The loops of the CPU are host code throughout; nvcc would have them callable from device code.
#pragma nv_diag_suppress 20011, 20013, 20014, 20015

#include "verify.hpp"

#include "stand_in/launch_table.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/by_sample.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/remember.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/elastic_weight_consolidation.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
#include <espalier/weight/score_mask.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using namespace espalier;
using namespace espalier::literals;
using namespace gpu_tests;

constexpr index_t width = 12;
constexpr int classes = 5;
constexpr std::uint32_t steps = 3;
constexpr index_t default_blocks = 1056; ///< of a GPU with 132 multiprocessors

/// What a few steps leave: the terms and measures of every step, weights, state, outputs of a prediction.
struct trace {
    std::vector<double> terms, measures;
    std::vector<float> weights, state, outputs;
};

std::vector<std::int32_t> labels_of(index_t n) {
    std::vector<std::int32_t> label;
    for (index_t i = 0; i < n; ++i)
        label.push_back(static_cast<std::int32_t>(i * 7 % classes));
    return label;
}

std::vector<std::int32_t> groups_of(index_t n) {
    std::vector<std::int32_t> group;
    for (index_t i = 0; i < n; ++i)
        group.push_back(static_cast<std::int32_t>(i * 3 % 4));
    return group;
}

std::vector<std::uint64_t> keys_of(index_t n) {
    std::vector<std::uint64_t> key;
    for (index_t i = 0; i < n; ++i)
        key.push_back(static_cast<std::uint64_t>(i * 11 % 50));
    return key;
}

/// What a stack reads: numbers, or ids of its vocabulary.
template <class Stack> std::vector<float> inputs_of(index_t n, std::uint32_t salt) {
    auto x = numbers(n * width, salt);
    if constexpr (requires { typename Stack::ids; })
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = std::floor((x[i] + 2.0f) / 4.0f *
                              static_cast<float>(Stack::ids::sizes[i % static_cast<std::size_t>(width)]));
    return x;
}

/// Gives the fixed tensors numbers, where a stack has any, and the layers of such stacks that mask units other masks
/// each.
template <class Network> void set_fixed(Network& net) {
    if constexpr (net.size.fixed > 0) {
        for (tensor_info const& t : net.tensors()) {
            if (t.companion == "anchor") remember(net, "anchor");
            if (t.units) {
                std::vector<bool> kept(static_cast<std::size_t>(t.columns));
                for (index_t c = 0; c < t.columns; ++c)
                    kept[static_cast<std::size_t>(c)] = (c + t.offset / 32) % 3 != 0;
                set_units(net, t.path(), kept);
            }
            if (!t.fixed || t.companion == "anchor") continue;
            auto const f = numbers(t.size(), 23);
            std::vector<float> squares;
            for (float v : f)
                squares.push_back(v * v);
            set_companion(net, t.name, matrix_view<float const>{squares.data(), t.rows, t.columns, t.columns});
        }
    }
}

template <class Stack> trace on_cpu(index_t n) {
    network<Stack, device::cpu, float> net{seed{5}, n};
    set_fixed(net);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.2});
    trace t;
    auto const label = labels_of(n);
    auto const group = groups_of(n);
    auto const key = keys_of(n);
    rows tags;
    tags.count = n;
    tags.label = label.data();
    tags.group = group.data();
    tags.key = key.data();
    for (std::uint32_t i = 0; i < steps; ++i) {
        auto const x = inputs_of<Stack>(n, 10 + i);
        run.step({matrix_view<float const>{x.data(), n, width, width}, tags, {}});
        t.terms.insert(t.terms.end(), run.terms().begin(), run.terms().end());
        t.measures.insert(t.measures.end(), run.measures().begin(), run.measures().end());
    }
    auto const copy = [](auto const& from) { return std::vector<float>(from.data(), from.data() + from.size()); };
    t.weights = copy(net.values().weights());
    t.state = copy(net.values().state());
    auto const x = inputs_of<Stack>(n, 9);
    t.outputs.resize(static_cast<std::size_t>(n * classes));
    net.predict(matrix_view<float const>{x.data(), n, width, width}, tags,
                matrix_view<float>{t.outputs.data(), n, classes, classes});
    return t;
}

launch_table launched;

template <class Stack> trace on_gpu(std::string const& name, index_t n, index_t blocks) {
    network<Stack, device::cuda, float> net{seed{5}, n};
    set_fixed(net);
    net.runner().device().set_most_blocks(blocks);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.2});
    bool const recorded = n == 33 && blocks == default_blocks;
    trace t;
    on_device<std::int32_t> label(labels_of(n)), group(groups_of(n));
    on_device<std::uint64_t> key(keys_of(n));
    rows tags;
    tags.count = n;
    tags.label = label.data();
    tags.group = group.data();
    tags.key = key.data();
    for (std::uint32_t i = 0; i < steps; ++i) {
        on_device<float> x(inputs_of<Stack>(n, 10 + i));
        auto const step = [&] { run.step({matrix_view<float const>{x.data(), n, width, width}, tags, {}}); };
        if (i == 1 && recorded)
            launched.add(name, run, step);
        else
            step();
        t.terms.insert(t.terms.end(), run.terms().begin(), run.terms().end());
        t.measures.insert(t.measures.end(), run.measures().begin(), run.measures().end());
    }
    t.weights = on_host(net.values().weights());
    t.state = on_host(net.values().state());
    on_device<float> x(inputs_of<Stack>(n, 9)), y(std::vector<float>(static_cast<std::size_t>(n * classes)));
    auto const predict = [&] {
        net.predict(matrix_view<float const>{x.data(), n, width, width}, tags,
                    matrix_view<float>{y.data(), n, classes, classes});
        net.runner().device().wait();
    };
    if (recorded)
        launched.add(name + ", prediction", run, predict);
    else
        predict();
    t.outputs = y.back();
    return t;
}

template <class Stack> void check(char const* name) {
    for (index_t n : {index_t{1}, index_t{33}, index_t{600}}) {
        if (short_run && n != 33) continue;
        std::string const what = std::string(name) + ", " + std::to_string(n) + " rows: ";
        trace const host = on_cpu<Stack>(n);
        trace first;
        for (index_t blocks : block_counts) {
            trace const device = on_gpu<Stack>(name, n, blocks);
            if (first.weights.empty()) first = device;
            std::string const shape = what + std::to_string(blocks) + " blocks change the ";
            expect(same_bits(device.terms, first.terms), shape + "terms");
            expect(same_bits(device.measures, first.measures), shape + "measures");
            expect(same_bits(device.weights, first.weights), shape + "weights");
            expect(same_bits(device.state, first.state), shape + "state");
            expect(same_bits(device.outputs, first.outputs), shape + "outputs");
        }
        expect(distance(first.terms, host.terms) < 2e-5, what + "terms");
        expect(distance(first.measures, host.measures) < 1e-12, what + "measures");
        expect(distance(first.weights, host.weights) < 1e-4, what + "weights");
        expect(distance(first.state, host.state) < 1e-4, what + "state");
        expect(distance(first.outputs, host.outputs) < 3e-4, what + "outputs");
    }
}

/// A row that a kernel cannot accept is reported, and nothing changes until somebody has heard of it.
template <class Stack>
void check_refusal(std::string const& what, std::vector<float> const& numbers_given,
                   std::vector<std::uint64_t> const& keys) {
    index_t const n = 33;
    network<Stack, device::cuda, float> net{seed{5}, n};
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.2});
    on_device<std::int32_t> label(labels_of(n));
    on_device<std::uint64_t> key(keys);
    on_device<float> x(numbers_given);
    rows tags;
    tags.count = n;
    tags.label = label.data();
    tags.key = key.data();
    auto const before = on_host(net.values().weights());
    bool thrown = false;
    try {
        run.step({matrix_view<float const>{x.data(), n, width, width}, tags, {}});
    } catch (data_error const& e) {
        thrown = std::string(e.what()).find("row 17") != std::string::npos;
    }
    expect(thrown, what + " is reported with its row");
    expect(same_bits(on_host(net.values().weights()), before), "a step with " + what + " changes nothing");
}

using head = dense<classes>;

/// A table for each column, some with fewer ids than a batch has rows, some with more.
struct embedded : sequence<input<width>, embedding<vocabulary<1, 2, 3, 5, 8, 13, 40, 100, 671, 4, 6, 900>, 9>,
                           dense<16, activation::tanh>, head> {
    using ids = vocabulary<1, 2, 3, 5, 8, 13, 40, 100, 671, 4, 6, 900>;
};

void refusals() {
    index_t const n = 33;
    auto keys = keys_of(n);
    keys[17] = 50;
    check_refusal<sequence<input<width>, moe<gate::hash<4, 50>, dense<9>, dispatch::dense>, head>>(
        "a key out of range", numbers(n * width, 10), keys);
    for (float wrong : {-1.0f, 2.0f, 0.5f, std::nanf(""), 1e30f}) {
        auto x = inputs_of<embedded>(n, 10);
        x[17 * width + 1] = wrong;
        check_refusal<embedded>("the id " + std::to_string(wrong), x, keys_of(n));
    }
}

/// The verbs of embeddings against the CPU, bit by bit, with more columns than one launch takes.
void check_tables() {
    constexpr index_t columns = 19;
    std::vector<index_t> sizes;
    index_t total = 0;
    for (index_t f = 0; f < columns; ++f) {
        sizes.push_back(1 + f * f * f % 101);
        total += sizes.back();
    }
    for (index_t n : {index_t{1}, index_t{33}, index_t{700}})
        for (index_t wide : {index_t{1}, index_t{8}, index_t{33}, index_t{100}}) {
            if (short_run && (n != 33 || wide == 100)) continue;
            auto x = numbers(n * columns, 3);
            for (std::size_t i = 0; i < x.size(); ++i)
                x[i] =
                    std::floor((x[i] + 2.0f) / 4.0f * static_cast<float>(sizes[i % static_cast<std::size_t>(columns)]));
            auto const table = numbers(total * wide, 4), dy = numbers(n * columns * wide, 5);
            std::vector<float> y(dy.size()), gradient(table.size());
            index_t const all = columns * wide;
            espalier::cpu::embed(matrix_view<float const>{x.data(), n, columns, columns}, sizes.data(), table.data(),
                                 wide, matrix_view<float>{y.data(), n, all, all});
            espalier::cpu::embed_backward(matrix_view<float const>{x.data(), n, columns, columns}, sizes.data(),
                                          matrix_view<float const>{dy.data(), n, all, all}, wide, gradient.data());
            std::string const what = "tables of " + std::to_string(wide) + " numbers, " + std::to_string(n) + " rows, ";
            for (index_t blocks : block_counts) {
                device::cuda device;
                device.set_most_blocks(blocks);
                on_device<float> ids(x), from(table), upstream(dy), to(std::vector<float>(y.size(), -7.0f)),
                    sums(std::vector<float>(table.size(), -7.0f));
                matrix_view<float const> const read{ids.data(), n, columns, columns};
                device.embed(read, sizes.data(), static_cast<float const*>(from.data()), wide,
                             matrix_view<float>{to.data(), n, all, all});
                device.embed_backward(read, sizes.data(), matrix_view<float const>{upstream.data(), n, all, all}, wide,
                                      sums.data());
                device.throw_on_error();
                std::string const shape = what + std::to_string(blocks) + " blocks: ";
                expect(same_bits(to.back(), y), shape + "rows of the tables");
                expect(same_bits(sums.back(), gradient), shape + "the tables' gradient");
            }
        }
}

/// Steps that select masks and one that does not, an evaluation, and the checkpoint of the training written and read:
/// what they launch, and the same weights and masks as on the CPU and from the file.
void check_pruning() {
    constexpr prune::gradual sometimes{.to = 0.5, .steps = 4, .every = 2};
    using stack = sequence<input<width>, dense<16, activation::tanh, prune::magnitude<sometimes, prune::global>>,
                           dense<classes, prune::magnitude<sometimes, prune::global>>>;
    constexpr index_t n = 33;
    network<stack, device::cpu, float> host_net{seed{5}, n};
    network<stack, device::cuda, float> net{seed{5}, n}, other{seed{5}, n};
    net.runner().device().set_most_blocks(default_blocks);
    training host(host_net, loss::cross_entropy{}, optimizer::adam{});
    training run(net, loss::cross_entropy{}, optimizer::adam{});
    training second(other, loss::cross_entropy{}, optimizer::adam{});
    auto const labels = labels_of(n);
    on_device<std::int32_t> label(labels);
    rows tags, host_tags;
    tags.count = host_tags.count = n;
    tags.label = label.data();
    host_tags.label = labels.data();
    for (std::uint32_t i = 0; i < 4; ++i) {
        auto const numbers = inputs_of<stack>(n, 10 + i);
        on_device<float> x(numbers);
        launched.add(i % 2 == 0 ? "masks are selected" : "masks stay", run, [&] {
            run.step({matrix_view<float const>{x.data(), n, width, width}, tags, {}});
        });
        host.step({matrix_view<float const>{numbers.data(), n, width, width}, host_tags, {}});
    }
    auto const& expected = host_net.values();
    expect(distance(on_host(net.values().weights()),
                    std::vector<float>(expected.weights().data(),
                                       expected.weights().data() + expected.weights().size())) < 1e-4,
           "pruning: weights");
    auto const masks = on_host(net.values().masks());
    expect(std::equal(masks.begin(), masks.end(), expected.masks().data()), "pruning: masks");
    on_device<float> x(inputs_of<stack>(n, 20));
    launched.add("evaluation", run, [&] {
        run.evaluate({matrix_view<float const>{x.data(), n, width, width}, tags, {}});
    });
    std::string const file =
        (std::filesystem::temp_directory_path() / ("espalier-gpu-" + std::to_string(getpid()) + ".safetensors"))
            .string();
    launched.add("a checkpoint is written", run, [&] { save_training(run, file); });
    launched.add("a checkpoint is read", second, [&] { load_training(second, file); });
    std::filesystem::remove(file);
    expect(same_bits(on_host(other.values().weights()), on_host(net.values().weights())), "checkpoint: weights");
    expect(on_host(other.values().masks()) == masks, "checkpoint: masks");
}

using plain = dense<16, activation::tanh, dropout::bernoulli<0.25>>;

void tests() {
    check<sequence<input<width>, plain, batch_norm<>, head>>("batch_norm");
    check<sequence<input<width>, batch_norm<batch_norm_options{.momentum = 0.5}>, dense<9>, batch_norm<>, head>>(
        "two batch_norm");
    using expert = sequence<dense<8, activation::tanh, dropout::bernoulli<0.25>>, batch_norm<>, dense<7>>;
    check<sequence<input<width>, moe<gate::softmax<4>, expert, dispatch::dense>, head>>("batch_norm of all rows");
    check<sequence<input<width>, moe<gate::top_k<4, 2>, plain, dispatch::dense>, head>>("top-k mixture");
    check<sequence<input<width>, plain, moe<gate::softmax<3>, dense<9>, dispatch::dense>, head>>("softmax mixture");
    using branch = sequence<dense<8, activation::tanh, dropout::bernoulli<0.25>>, dense<7>>;
    using passing = dispatch::capacity<0.6, dispatch::overflow::pass>;
    check<sequence<input<width>, plain, moe<gate::top_k<4, 2>, branch, dispatch::capacity<1.25>>, head>>("capacity");
    check<sequence<input<width>, plain, moe<gate::top_k<4, 2>, dense<16>, passing>, head>>("capacity, passing");
    check<sequence<input<width>, plain, moe<gate::top_k<4, 2>, branch, dispatch::automatic<>>, head>>("counted rows");
    check<sequence<input<width>, plain, moe<gate::top_k<4, 2>, branch, dispatch::compacted>, head>>("windows");
    check<sequence<input<width>, plain, moe<gate::top_k<8, 1>, dense<16>, dispatch::compacted>, head>>(
        "windows, some empty");
    check<sequence<input<width>, plain, moe<gate::comet<5, 2>, dense<16>, dispatch::compacted>, head>>(
        "counted rows of trees");
    using held = sequence<dense<8, activation::tanh, units::fixed_mask, weight::score_mask<0.0>,
                                initial::uniform<-1.0, 1.0>, on<role::score, penalty::anchor<1.5>>>,
                          dense<7, penalty::elastic_weight_consolidation<0.5>, on<role::bias, penalty::anchor<0.5>>,
                                weight::compander<weight::arctan, 1.5, 0.75, weight::learned<0.05>>>>;
    check<sequence<input<width>, dense<16, activation::tanh, penalty::elastic_weight_consolidation<0.5>>,
                   batch_norm<batch_norm_options{}, on<role::scale, penalty::anchor<2.0>>>,
                   moe<gate::top_k<4, 2>, held, dispatch::automatic<>>, head>>(
        "companions of tensors, numbers of a map");
    check<sequence<input<width>, dense<16, activation::tanh, weight::low_rank_adapter<3>>,
                   dense<9, activation::tanh, weight::low_rank_adapter<2, weight::adaptive_gain<2.0>>>, head>>(
        "adapters");
    using nested = penalty::nested_group_lasso<0.02, over::ranks>;
    check<sequence<input<width>, dense<16, activation::tanh, weight::low_rank<8, 5>, nested>,
                   dense<9, activation::tanh, weight::low_rank<6, 0>, penalty::group_lasso<0.02, over::ranks>>, head>>(
        "low rank, nested groups");
    check<sequence<input<width>, plain, moe<gate::top_k<4, 2>, dense<9, weight::low_rank<6, 0>>, dispatch::compacted>,
                   head>>("experts of rank 0");
    using counting = sequence<dense<8, activation::tanh, activation_penalty::l1<0.1>>, residual<dense<8>>,
                              dense<7, activation::softmax>>;
    check<sequence<input<width>, plain, moe<gate::top_k<8, 1>, counting, dispatch::automatic<>>, head>>(
        "a penalty over counted rows");
    check<sequence<input<width>, plain, moe<gate::top_k<4, 2>, counting, dispatch::dense>, head>>(
        "a penalty in a dense mixture");
    check<sequence<input<width>, plain, moe<gate::top_k<4, 2>, counting, dispatch::capacity<0.8>>, head>>(
        "a penalty over the rows of a block");
    using two = gates<gate::top_k<4, 2>, gate::softmax<4>>;
    check<sequence<input<width>, plain, multi_gate<two, branch, dispatch::automatic<>>, head>>("two gates, counted");
    check<sequence<input<width>, plain, multi_gate<two, branch, dispatch::capacity<0.6>>, head>>("two gates");
    check<sequence<input<width>, plain, multi_gate<two, dense<16>, passing>, head>>("two gates, passing");
    using noisy = gate::top_k<4, 2, gate::learned_noise, gate::importance<0.1>, gate::load<0.1>>;
    check<sequence<input<width>, plain, moe<noisy, branch, dispatch::dense>, head>>("a gate of parts");
    check<sequence<input<width>, plain, moe<gate::hash<4, 50>, branch, dispatch::capacity<1.0>>, head>>("hash");
    check<sequence<input<width>, plain, moe<gate::enforced<4>, branch, dispatch::dense>, head>>("enforced");
    using choice = gate::expert_choice<4>;
    check<sequence<input<width>, plain, moe<choice, branch, dispatch::capacity<2.0>>, head>>("expert choice");
    constexpr gate::search quick{.steps = 2, .noise = 0.1};
    using trees = gate::local_search<gate::comet<4, 2>, quick>;
    using winners = gate::local_search<gate::top_k<4, 2>, quick>;
    check<sequence<input<width>, plain, moe<trees, branch, dispatch::dense>, head>>("search over trees");
    check<sequence<input<width>, plain, moe<winners, branch, dispatch::capacity<2.0>>, head>>("search over winners");
    using inside = residual<dense<16>, tap<"inside"_name>>;
    check<sequence<input<width>, plain, tap<"hidden"_name, activation_penalty::l1<0.1>>, inside, head>>("taps");
    check<embedded>("embedding");
    check_tables();
    refusals();
    using rates = by_sample<elementwise<dropout::bernoulli<0.2>>, elementwise<dropout::bernoulli<0.4>>>;
    using sampled = multi_sample<3, dense<9, dropout::bernoulli<0.5>, activation_penalty::l1<0.1>>, rates, head>;
    check<sequence<input<width>, plain, sampled>>("multi_sample");
    check_pruning();
    launched.compare();
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
