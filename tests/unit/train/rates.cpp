// SPDX-License-Identifier: Apache-2.0
// Rules of learning rate, decay and freezing, and optimizers: by path, parameter group and role.
#include "../io/temporary_folder.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/bias.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/training.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/low_rank.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr index_t count = 12;

using encoder =
    everywhere<sequence<dense<8, activation::relu>, residual<dense<8, in_group<"inner"_name>>>, batch_norm<>>,
               in_group<"encoder"_name>>;
using stack = sequence<input<5>, encoder, moe<gate::top_k<2, 1>, dense<6>, in_group<"sixteen letters_"_name>>,
                       dense<6, weight::low_rank<2>, in_group<"head"_name>>, dense<3>>;
using plain_stack = sequence<input<5>, sequence<dense<8, activation::relu>, residual<dense<8>>, batch_norm<>>,
                             moe<gate::top_k<2, 1>, dense<6>>, dense<6, weight::low_rank<2>>, dense<3>>;
using model_type = network<stack, device::cpu, double>;

struct data {
    std::vector<double> x = std::vector<double>(count * 5);
    std::vector<std::int32_t> labels = std::vector<std::int32_t>(count);
    batch_view<double> batch;
    data() {
        fill_normal(make_site(2, 2), 0.0, 1.0, array_view<double>{x.data(), count * 5});
        for (index_t i = 0; i < count; ++i)
            labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % 3);
        batch.inputs = contiguous_view<double const>(x.data(), count, 5);
        batch.tags.count = count;
        batch.tags.label = labels.data();
    }
    data(data const&) = delete;
};

/// How far a step moved every trained tensor, divided by how far it does without rules.
std::map<std::string, double> moved(std::vector<rate_rule> const& rules) {
    data const d;
    auto const distances = [&](std::vector<rate_rule> const& given) {
        model_type net{seed{4}, count};
        training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}, 0, given};
        auto const before = net.values();
        run.step(d.batch);
        std::map<std::string, double> sums;
        for (tensor_info const& t : model_type::tensors())
            if (t.trained)
                for (index_t i = 0; i < t.size(); ++i)
                    sums[t.name] += std::fabs(net.values().view(t).data[i] - before.view(t).data[i]);
        return sums;
    };
    auto const plain = distances({});
    auto ratio = distances(rules);
    for (auto& [name, value] : ratio)
        value = plain.at(name) > 0.0 ? value / plain.at(name) : 1.0;
    return ratio;
}

} // namespace

TEST_CASE("rates: a layer's tensors carry its group, or that of an everywhere around it", "[train][rates]") {
    std::map<std::string, std::string> groups;
    for (tensor_info const& t : model_type::tensors())
        if (t.trained) groups[t.name] = t.group;
    CHECK(groups.at("1.0.kernel") == "encoder");
    CHECK(groups.at("1.0.bias") == "encoder");
    CHECK(groups.at("1.1.0.kernel") == "inner");
    CHECK(groups.at("1.2.scale") == "encoder");
    CHECK(groups.at("2.gate.kernel") == "sixteen letters_");
    CHECK(groups.at("4.kernel").empty());
    int in_head = 0;
    for (auto const& [name, group] : groups)
        in_head += group == "head";
    CHECK(in_head == 3); // both factors and the bias
    CHECK_THAT(describe<stack>(), contains_text("group head"));
}

TEST_CASE("rates: groups change no number", "[train][rates]") {
    data const d;
    model_type with{seed{4}, count};
    network<plain_stack, device::cpu, double> without{seed{4}, count};
    training a{with, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    training b{without, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    for (int i = 0; i < 3; ++i)
        CHECK(a.step(d.batch).total == b.step(d.batch).total);
}

TEST_CASE("rates: factors of all rules that match multiply", "[train][rates]") {
    auto const ratio = moved({{.group = "encoder", .learning_rate = 0.5},
                              {.tensor_role = role::bias, .learning_rate = 0.25},
                              {.path = "4.", .learning_rate = 2.0},
                              {.group = "head", .frozen = true},
                              {.group = "inner", .learning_rate = 3.0}});
    CHECK(ratio.at("1.0.kernel") == Approx(0.5).epsilon(1e-9));
    CHECK(ratio.at("1.0.bias") == Approx(0.125).epsilon(1e-9));
    CHECK(ratio.at("1.1.0.kernel") == Approx(3.0).epsilon(1e-9));
    CHECK(ratio.at("1.2.scale") == Approx(0.5).epsilon(1e-9));
    CHECK(ratio.at("4.kernel") == Approx(2.0).epsilon(1e-9));
    CHECK(ratio.at("4.bias") == Approx(0.5).epsilon(1e-9));
    CHECK(ratio.at("3.bias") == 0.0);
}

TEST_CASE("rates: groups are frozen and thawed in turn", "[train][rates]") {
    data const d;
    model_type net{seed{4}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    auto const step_moves = [&] {
        auto const before = net.values();
        run.step(d.batch);
        std::map<std::string, bool> moves;
        for (tensor_info const& t : model_type::tensors())
            if (t.trained)
                for (index_t i = 0; i < t.size(); ++i)
                    if (net.values().view(t).data[i] != before.view(t).data[i]) moves[t.group] = true;
        return moves;
    };
    run.set_rates({{.group = "encoder", .frozen = true}});
    auto first = step_moves();
    CHECK(!first["encoder"]);
    CHECK(first["head"]);
    run.set_rates({{.group = "head", .frozen = true}});
    auto second = step_moves();
    CHECK(second["encoder"]);
    CHECK(!second["head"]);
}

TEST_CASE("rates: a rule that cannot be meant is refused and changes nothing", "[train][rates]") {
    data const d;
    model_type net{seed{4}, count}, other{seed{4}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    training calm{other, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    CHECK_THROWS_WITH(run.set_rates({{.frozen = true}, {.group = "encodr", .learning_rate = 0.5}}),
                      contains_text("group \"encodr\"") && contains_text("matches no trained tensor"));
    CHECK_THROWS_AS(run.set_rates({{.path = "9.", .learning_rate = 0.5}}), data_error);
    CHECK_THROWS_AS(run.set_rates({{.frozen = true}, {.learning_rate = -1.0}}), data_error);
    CHECK_THROWS_AS(run.set_rates({{.decay = 1.0 / 0.0}}), data_error);
    CHECK(run.step(d.batch).total == calm.step(d.batch).total);
    CHECK(run.step(d.batch).total == calm.step(d.batch).total);
}

namespace {

using optimizer::by_group;
auto const heavy = optimizer::sgd{.learning_rate = 0.1, .momentum = 0.9};
auto const light = optimizer::sgd{.learning_rate = schedule::linear{.from = 0.5, .to = 0.1, .steps = 4}};
auto const main_one = optimizer::adamw{.learning_rate = 0.02, .weight_decay = 0.1};
auto const three =
    by_group{optimizer::of<"head"_name>(heavy), optimizer::of<role::bias>(light), optimizer::rest(main_one)};

/// The optimizer that `three` has for a tensor.
enum class whose { heavy_one, light_one, rest_one };
whose of(tensor_info const& t) {
    return t.group == "head" ? whose::heavy_one : t.tensor_role == role::bias ? whose::light_one : whose::rest_one;
}

bool same_bits(double const* a, double const* b, index_t n) {
    return std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(double)) == 0;
}

/// Five updates by gradients of this function's own: what one tensor does is no matter of the others. The head, a bias
/// and an inner layer are frozen in some of them.
template <class Optimizer> struct five_updates {
    model_type net{seed{4}, count};
    training<model_type, loss::cross_entropy, Optimizer> run;

    five_updates(data const& d, Optimizer const& its, int updates = 5) : run(net, loss::cross_entropy{}, its) {
        run.gradients_of(d.batch);
        for (int k = 0; k < updates; ++k)
            update(k);
    }
    void update(int k) {
        for (index_t i = 0; i < run.gradients().size(); ++i)
            run.gradients()[i] = std::sin(static_cast<double>(i + 7 * k));
        run.set_rates({{.group = "head", .learning_rate = 2.0, .frozen = k == 1},
                       {.path = "1.0.bias", .frozen = k == 2},
                       {.group = "inner", .decay = 0.5, .frozen = k == 0 || k == 3}});
        run.update();
    }
};

} // namespace

TEST_CASE("by_group: a tensor has the bits that its optimizer alone gives it", "[train][rates][optimizer]") {
    data const d;
    five_updates const all(d, three);
    five_updates const heavy_alone(d, heavy);
    five_updates const light_alone(d, light);
    five_updates const main_alone(d, main_one);
    STATIC_REQUIRE(decltype(all.run)::moments == 2);
    int seen[3] = {};
    for (tensor_info const& t : model_type::tensors()) {
        if (!t.trained) continue;
        INFO(t.name);
        whose const its = of(t);
        ++seen[static_cast<int>(its)];
        auto const& alone = its == whose::heavy_one   ? heavy_alone.net.values()
                            : its == whose::light_one ? light_alone.net.values()
                                                      : main_alone.net.values();
        CHECK(same_bits(all.net.values().view(t).data, alone.view(t).data, t.size()));
        CHECK(all.run.moments_of(t) == (its == whose::rest_one ? 2 : its == whose::heavy_one ? 1 : 0));
    }
    for (int const tensors : seen)
        CHECK(tensors >= 3);
    // One for all is that one.
    five_updates const one(d, by_group{optimizer::rest(main_one)});
    CHECK(same_bits(one.net.values().weights().data(), main_alone.net.values().weights().data(),
                    model_type::size.parameters));
}

TEST_CASE("by_group: a training goes on from its checkpoint, which keeps a tensor's own moments only",
          "[train][rates][optimizer]") {
    data const d;
    espalier_test::temporary_folder const folder;
    std::string const file = (folder / "by_group.safetensors").string();
    five_updates whole(d, three), part(d, three, 3);
    five_updates other(d, main_one, 3);
    save_training(part.run, file);
    auto const saved = read_safetensors(file);
    CHECK(saved.find("optimizer.1.1.0.kernel"));
    CHECK(saved.find("optimizer.0.3.bias"));
    CHECK(!saved.find("optimizer.1.3.bias"));
    CHECK(!saved.find("optimizer.0.1.0.bias"));
    five_updates fresh(d, three, 1);
    load_training(fresh.run, file);
    fresh.update(3);
    fresh.update(4);
    CHECK(same_bits(fresh.net.values().weights().data(), whole.net.values().weights().data(),
                    model_type::size.parameters));
    CHECK_THROWS_WITH(load_training(other.run, file), contains_text("kept 0 numbers for each weight of '1.0.bias'"));
}

TEST_CASE("by_group: numbers that make no sense, and entries for no tensor, are named", "[train][rates][optimizer]") {
    CHECK_NOTHROW(three.validate());
    auto const below =
        by_group{optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = -1.0}), optimizer::rest(heavy)};
    CHECK_THROWS_AS(below.validate(), data_error);
    CHECK_THROWS_WITH(below.validate(), contains_text("by_group, group head: sgd: `learning_rate` is -1"));
    using op = decltype(three.at(espalier::clock{}, 1));
    STATIC_REQUIRE(optimizer::optimizer<std::remove_const_t<decltype(three)>>);
    STATIC_REQUIRE(op::counts_updates);
    CHECK(three.at(espalier::clock{}, 1).rate() == 0.02);
    CHECK_NOTHROW(op::require_tensors(model_type::tensors()));
    std::vector<tensor_info> without_head = model_type::tensors();
    std::erase_if(without_head, [](tensor_info const& t) { return t.group == "head"; });
    CHECK_THROWS_AS(op::require_tensors(without_head), data_error);
    CHECK_THROWS_WITH(op::require_tensors(without_head),
                      contains_text("no tensor takes the entry for group head") && contains_text("'encoder', 'inner'"));
}

namespace {

/// Whether a tensor of the stack is of the group or role.
template <class Tensors, class... Layers>
constexpr bool
    has = detail::has_tensor_in<typename sequence<Layers...>::template bind<shape{}, type_list<>>, Tensors>();

using here = in_group<"here"_name>;
template <class... Layers> constexpr bool is_here = has<optimizer::detail::for_group<"here"_name>, input<4>, Layers...>;
template <role Role, class... Layers>
constexpr bool has_role = has<optimizer::detail::for_role<Role>, input<4>, Layers...>;

} // namespace

TEST_CASE("by_group: layers of every kind say which tensors they have", "[train][rates][optimizer]") {
    using gate = gate::top_k<2, 1>;
    STATIC_REQUIRE(is_here<dense<3>, dense<3, here>>);
    STATIC_REQUIRE(!is_here<dense<3>, tap<"here"_name>, slice<0, 2>, batch_norm<>>);
    STATIC_REQUIRE(is_here<residual<dense<4, here>>>);
    STATIC_REQUIRE(is_here<parallel<merge::add, dense<4>, dense<4, here>>>);
    STATIC_REQUIRE(is_here<multi_sample<2, dense<4, here>>>);
    STATIC_REQUIRE(is_here<everywhere<sequence<batch_norm<>>, here>>);
    STATIC_REQUIRE(is_here<moe<gate, dense<4, here>>>);
    STATIC_REQUIRE(is_here<moe<gate, experts<dense<4>, sequence<dense<3>, dense<4, here>>>>>);
    STATIC_REQUIRE(is_here<moe<gate, dense<4>, here>>); // the gate's own
    STATIC_REQUIRE(!is_here<moe<gate, dense<4>>>);
    STATIC_REQUIRE(has_role<role::gate, moe<gate, dense<4>>>);
    STATIC_REQUIRE(has_role<role::factor, dense<4, weight::low_rank<2>>>);
    STATIC_REQUIRE(!has_role<role::kernel, dense<4, weight::low_rank<2>>>);
    STATIC_REQUIRE(has_role<role::shift, batch_norm<>>);
    STATIC_REQUIRE(!has_role<role::bias, dense<4, no_bias>>);
    STATIC_REQUIRE(has_role<role::embedding, embedding<vocabulary<3, 3, 3, 3>, 2>>);
    STATIC_REQUIRE(
        has_role<role::scalar, dense<4, weight::compander<weight::arctan, 0.8, 0.5, weight::learned<0.25>>>>);
    STATIC_REQUIRE(!has_role<role::scalar, dense<4, weight::compander<weight::arctan, 0.8, 0.5>>>);
}
