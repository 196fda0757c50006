// SPDX-License-Identifier: Apache-2.0
// What a network computes in evaluation is one thing, whoever asks: fit, evaluate, predict, a further training, a copy,
// a teacher, a file.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"
#include "../train/fit_data.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/piecewise.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/teacher.hpp>
#include <espalier/weight/low_rank.hpp>

#include <support/catch.hpp>

#include <ostream>
#include <type_traits>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr index_t width = 5, classes = 3, capacity = 32;

data_set clusters(index_t count, std::uint64_t seed_value) {
    return espalier_test::clusters(count, width, seed_value);
}

using expert = dense<classes, activation::tanh>;
constexpr schedule::linear falling{.from = 4.0, .to = 0.25, .steps = 60};
constexpr schedule::linear by_epoch{.from = 4.0, .to = 0.25, .steps = 5, .unit = schedule::time_unit::epoch};
template <auto Value> using gated = sequence<input<width>, moe<gate::softmax<4, gate::temperature<Value>>, expert>>;
template <auto Value>
using ranked = sequence<input<width>, dense<12, weight::low_rank<5, Value>, activation::tanh>, dense<classes>>;
template <auto Value>
using faded = sequence<
    input<width>,
    dense<12, activation::tanh,
          prune::policy<prune::by_magnitude, prune::per_layer,
                        prune::gradual{.from = 0.0, .to = 0.7, .steps = 30, .every = 4}, prune::decayed<Value>>>,
    dense<classes>>;
constexpr schedule::linear down{.from = 1.0, .to = 0.0, .steps = 50};
constexpr schedule::linear down_by_epoch{.from = 1.0, .to = 0.0, .steps = 5, .unit = schedule::time_unit::epoch};

/// A user's weight map that shrinks with time.
struct shrinking_op {
    double factor;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
    template <class T> ESPALIER_FN T effective(T w) const { return w * T(static_cast<scalar_of<T>>(factor)); }
    template <class T> ESPALIER_FN T pull(T g) const { return g * T(static_cast<scalar_of<T>>(factor)); }
    template <class T> ESPALIER_FN T store(T w) const { return w; }
};
struct shrinking {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "shrinking";
    using op = shrinking_op;
    // Numbers for the step after an update, as `clock::next` has it.
    static op at(espalier::clock const& now) { return {1.0 / (1.0 + 0.1 * static_cast<double>(now.next().step))}; }
};

/// Numbers that are compared and not printed.
struct outputs_of {
    std::vector<float> values;
    friend bool operator==(outputs_of const&, outputs_of const&) = default;
};
std::ostream& operator<<(std::ostream& out, outputs_of const& y) {
    return out << y.values.size() << " outputs";
}

template <class Net> outputs_of outputs(Net& net, data_set const& data) {
    return {predict(net, data.view())};
}

/// All that may be asked agrees bit for bit, and asking changes nothing.
template <class Stack> void check_one_answer(std::vector<named_value> const& values = {}) {
    using net_type = network<Stack, device::cpu, float>;
    espalier_test::temporary_folder folder;
    auto const train = clusters(90, 1), test = clusters(40, 2);
    net_type net({3}, capacity);
    ema_teacher teacher{net, 0.0}; // the student itself, at its time
    fit_options options;
    options.epochs = 6;
    options.batch = 10;
    options.progress = false;
    options.validation = test.view();
    options.values = values;
    options.followers = {teacher.follow(net)};
    loss::cross_entropy const loss;
    auto const record = fit(net, loss, optimizer::adam{.learning_rate = 1e-2}, train, options);
    double const expected = record.last("validation_loss");

    CHECK(net.time().step == 54);
    CHECK(evaluate(net, loss, test.view()).loss == expected);
    auto const wanted = outputs(net, test);
    CHECK(outputs(net, test) == wanted);
    net.refresh();
    CHECK(outputs(net, test) == wanted);
    net_type copy = net;
    CHECK(outputs(copy, test) == wanted);
    CHECK(evaluate(copy, loss, test.view()).loss == expected);
    net_type assigned({9}, capacity);
    assigned = net;
    CHECK(outputs(assigned, test) == wanted);

    outputs_of by_teacher{std::vector<float>(wanted.values.size())};
    teacher.predict(net, test.view().features, contiguous_view(by_teacher.values.data(), test.count, classes));
    CHECK(by_teacher == wanted);

    {
        training run{net, loss, optimizer::sgd{.learning_rate = 0.5}};
        CHECK(outputs(net, test) == wanted);
        batch_view<float> batch;
        batch.inputs = test.view().features.middle_rows(0, capacity);
        batch.tags.count = capacity;
        batch.tags.label = test.labels.data();
        double const once = run.evaluate(batch);
        run.objective(batch);
        run.gradients_of(batch);
        CHECK(run.evaluate(batch) == once);
        CHECK(training<net_type, loss::cross_entropy, optimizer::adam<>>(net, loss, {}).evaluate(batch) == once);
        CHECK(run.time().step == 54);
    }
    CHECK(outputs(net, test) == wanted);

    save(net, folder / "net.safetensors");
    net_type loaded({3}, capacity); // of one seed, for it goes on below
    load(loaded, folder / "net.safetensors");
    CHECK(outputs(loaded, test) == wanted);
    CHECK(evaluate(loaded, loss, test.view()).loss == expected);
    CHECK(loaded.time().step == 54);
    CHECK(loaded.time().epoch == 6);
    CHECK(loaded.time().steps_per_epoch == 9);
    // And it goes on as the other one does.
    options.epochs = 1;
    options.followers.clear();
    fit(net, loss, optimizer::sgd{}, train, options);
    fit(loaded, loss, optimizer::sgd{}, train, options);
    bool const differs = outputs(net, test) != wanted;
    CHECK(differs);
    CHECK(outputs(loaded, test) == outputs(net, test));
}

} // namespace

TEST_CASE("time: evaluation has one answer for policies that depend on it", "[network][time]") {
    check_one_answer<gated<falling>>();
    check_one_answer<gated<by_epoch>>();
    check_one_answer<gated<schedule::piecewise{.steps = 20, .first = 3.0, .second = by_epoch}>>();
    check_one_answer<gated<schedule::runtime{"heat"_name, 1.0}>>({{"heat"_name, 0.4}});
    check_one_answer<ranked<schedule::linear{.from = 5.0, .to = 1.0, .steps = 50}>>();
    check_one_answer<ranked<schedule::runtime{"rank"_name, 5.0}>>({{"rank"_name, 2.0}});
    check_one_answer<faded<down>>();
    check_one_answer<faded<down_by_epoch>>();
    check_one_answer<faded<schedule::runtime{"fade"_name, 0.5}>>({{"fade"_name, 0.3}});
    check_one_answer<sequence<input<width>, dense<8, shrinking, activation::tanh>, dense<classes>>>();
    check_one_answer<
        sequence<input<width>, moe<gate::local_search<gate::softmax<4>, gate::search{.steps = 20}>, expert>>>();
}

TEST_CASE("time: what is set by hand reaches weights that were prepared before", "[network][time]") {
    auto const test = clusters(40, 2);
    using net_type = network<faded<schedule::runtime{"fade"_name, 0.5}>, device::cpu, float>;
    net_type net({3}, capacity), other({3}, capacity);
    for (index_t i = 0; i < 30; ++i) // some weights are left out
        net.values().masks().data()[i % 2] &= ~(1u << i), other.values().masks().data()[i % 2] &= ~(1u << i);
    net.set_value("fade"_name, 0.25);
    other.refresh();
    CHECK(outputs(net, test) != outputs(other, test));
    espalier::clock now = other.time();
    named_value const value{"fade"_name, 0.25};
    now.values = {&value, 1};
    other.set_time(now);
    CHECK(outputs(net, test) == outputs(other, test));
    now = other.time();
    other.set_time(now); // its own values
    REQUIRE(other.time().values.size == 1);
    CHECK(other.time().values[0].value == 0.25);
}

TEST_CASE("time: a file that does not tell it is taken for a new network's", "[network][time]") {
    espalier_test::temporary_folder folder;
    using net_type = network<gated<falling>, device::cpu, float>;
    net_type net({3}, capacity), loaded({4}, capacity);
    net.set_time({.step = 70});
    std::vector<tensor_record> records;
    detail::host_parameters<net_type> host(net.values());
    detail::add_records(records, host.saved());
    write_safetensors(folder / "old.safetensors", records, {{"format", "espalier"}});
    write_safetensors(folder / "foreign.safetensors", records, {{"format", "pt"}, {"step", "many"}});
    auto const test = clusters(40, 2);
    auto const wanted = outputs(net, test);
    for (auto const* name : {"old.safetensors", "foreign.safetensors"}) {
        loaded.set_time({.step = 9});
        load(loaded, folder / name);
        CHECK(loaded.time().step == 0);
        CHECK(outputs(loaded, test) != wanted);
        loaded.set_time({.step = 70});
        CHECK(outputs(loaded, test) == wanted);
    }
    write_safetensors(folder / "bad.safetensors", records, {{"format", "espalier"}, {"step", "many"}});
    CHECK_THROWS_AS(load(loaded, folder / "bad.safetensors"), file_error);
    CHECK(outputs(loaded, test) == wanted);
}

namespace {

/// In evaluation a row is given the same whatever is in the batch beside it and whatever room there is.
template <class Layer> void check_rows_alone() {
    using described = sequence<input<width>, Layer>;
    INFO(describe<described>());
    constexpr index_t count = 64;
    using net_type = naive::network<sequence<input<width>, Layer>>;
    auto const x = naive::random(count, width, 8, 2.0);
    std::vector<std::uint64_t> keys(count);
    for (index_t r = 0; r < count; ++r)
        keys[static_cast<std::size_t>(r)] = static_cast<std::uint64_t>(r % 7);
    auto const answer = [&](index_t room, index_t at_once, int threads) {
        net_type net({6}, room, std::make_unique<device::cpu>(threads, 0));
        naive::matrix y(count, net_type::output_width);
        for (index_t r = 0; r < count; r += at_once) {
            rows tags;
            tags.count = at_once;
            tags.key = keys.data() + r;
            net.predict(x.view().middle_rows(r, at_once), tags, y.view().middle_rows(r, at_once));
        }
        return y.values;
    };
    auto const wanted = answer(64, 64, 1);
    CHECK(answer(32, 64, 1) == wanted);
    CHECK(answer(256, 64, 1) == wanted);
    CHECK(answer(256, 64, 2) == wanted);
    CHECK(answer(32, 16, 1) == wanted);
    CHECK(answer(32, 1, 1) == wanted);
}

using wide_expert = sequence<dense<6, activation::tanh>, dense<width>>;

} // namespace

TEMPLATE_TEST_CASE("time: a capacity bounds training and leaves evaluation alone", "[network][time]",
                   (moe<gate::softmax<6>, wide_expert, dispatch::compacted>),
                   (moe<gate::top_k<6, 2>, wide_expert, dispatch::capacity<1.0>>),
                   (moe<gate::top_k<6, 2>, wide_expert, dispatch::capacity<0.1>>),
                   (moe<gate::top_k<6, 1>, wide_expert, dispatch::capacity<0.5, dispatch::overflow::pass>>),
                   (moe<gate::comet<6, 2>, wide_expert, dispatch::capacity<0.2>>),
                   (moe<gate::hash<6, 7>, wide_expert, dispatch::capacity<0.2>>),
                   (multi_gate<gates<gate::top_k<6, 2>, gate::softmax<6>>, wide_expert, dispatch::capacity<0.2>>)) {
    check_rows_alone<TestType>();
}

TEST_CASE("time: a capacity drops in evaluation where it is told to, and says so", "[network][time]") {
    // The same as without any bound, and told to it drops in evaluation too.
    using bounded = sequence<input<width>, moe<gate::top_k<6, 2>, wide_expert, dispatch::capacity<0.4>>>;
    using always =
        sequence<input<width>, moe<gate::top_k<6, 2>, wide_expert,
                                   dispatch::capacity<0.4, dispatch::overflow::drop, dispatch::bounds_rows::always>>>;
    using open = sequence<input<width>, moe<gate::top_k<6, 2>, wide_expert, dispatch::compacted>>;
    auto const x = naive::random(50, width, 9, 2.0);
    naive::network<bounded> a({6}, 64);
    naive::network<always> b({6}, 64);
    naive::network<open> c({6}, 64);
    auto const wanted = naive::forward<mode::evaluate>(c, x);
    CHECK(naive::forward<mode::evaluate>(a, x).values == wanted.values);
    CHECK(naive::forward<mode::evaluate>(b, x).values != wanted.values);
    CHECK(naive::forward<mode::train>(a, x).values == naive::forward<mode::train>(b, x).values);
    CHECK(naive::forward<mode::train>(a, x).values != wanted.values);

    auto const tells = [](std::string const& text) {
        return text.find("evaluation depends on the batch") != std::string::npos ||
               text.find("evaluation: depends on the batch") != std::string::npos;
    };
    CHECK_FALSE(tells(describe<bounded>()));
    CHECK(tells(describe<always>()));
    CHECK(tells(describe<sequence<input<width>, moe<gate::expert_choice<6>, wide_expert>>>()));
    CHECK_FALSE(tells(describe<open>()));
}
