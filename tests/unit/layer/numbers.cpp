// SPDX-License-Identifier: Apache-2.0
// What `describe` says of the numbers of policies.
#include <espalier/espalier.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/local_search.hpp>

#include <support/catch.hpp>

#include <boost/hana/define_struct.hpp>
#include <boost/hana/pair.hpp>
#include <boost/hana/tuple.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

template <class P> std::string text_of_policy() {
    std::vector<policy_info> policies;
    detail::list_policy<P>(policies);
    return policies.front().text();
}

// ---- ops of a program

struct spring_op {
    double strength;
    float width;
    bool soft;
    int parts[3];
    double inverse;
    double length() const { return 1.0 / inverse; }
    static constexpr auto numbers =
        fields<&spring_op::strength, &spring_op::width, &spring_op::soft, &spring_op::parts, &spring_op::length>;
    template <class T> T value(T w) const { return w * T(strength); }
    template <class T> T gradient(T) const { return T(strength); }
};
template <double Strength> struct spring {
    using axis = espalier::axis::penalty;
    static constexpr std::string_view name = "spring";
    using op = spring_op;
    static op at(espalier::clock const& now) {
        return {Strength * static_cast<double>(now.step + 1), 0.1F, true, {1, 2, 3}, 4.0};
    }
    static constexpr int order = 3;
    static double at_start(espalier::clock const& now) { return now.step == 0 ? 7.5 : 0.0; }
    static constexpr auto numbers = fields<&spring::order, &spring::at_start>;
};

struct silent_op {
    double strength;
    template <class T> T value(T w) const { return w * T(strength); }
    template <class T> T gradient(T) const { return T(strength); }
};
struct silent {
    using axis = espalier::axis::penalty;
    static constexpr std::string_view name = "silent";
    using op = silent_op;
    static op at(espalier::clock const&) { return {0.25}; }
};

struct table_op {
    double rows[2][2];
    std::uint64_t last_step;
    static constexpr auto numbers = fields<&table_op::rows, &table_op::last_step>;
    template <class T> T value(T w) const { return w; }
    template <class T> T gradient(T) const { return T(1); }
};
struct table {
    using axis = espalier::axis::penalty;
    static constexpr std::string_view name = "table";
    using op = table_op;
    static op at(espalier::clock const&) { return {{{1.0, 2.0}, {3.0, 4.5}}, ~std::uint64_t{0}}; }
};

/// Its op is a struct of Boost.Hana.
struct hana_spring_op {
    BOOST_HANA_DEFINE_STRUCT(hana_spring_op, (double, strength), (int, order));
    template <class T> T value(T w) const { return w * T(strength); }
    template <class T> T gradient(T) const { return T(strength); }
};
struct hana_spring {
    using axis = espalier::axis::penalty;
    static constexpr std::string_view name = "hana_spring";
    using op = hana_spring_op;
    static op at(espalier::clock const&) { return op{0.25, 3}; }
};

/// Its own op.
struct plain {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "plain";
    static constexpr double slope = 0.5;
    static constexpr auto numbers = fields<&plain::slope>;
    template <class T> static T forward(T x) { return x * T(slope); }
    template <class T> static T derivative(T, T) { return T(slope); }
};

/// Ranges without a name.
struct halves {
    [[maybe_unused]] static constexpr int count = 2;
    [[maybe_unused]] static constexpr double low = 0.0, high = 1.0;
    static int range_of(double v) { return v < 0.5 ? 0 : 1; }
};

/// A schedule that begins with step 10.
struct late {
    double value = 0.0;
    double at(espalier::clock const& now) const {
        if (now.step < 10) detail::throw_data_error("too early");
        return value;
    }
};

struct unit : axis_defaults {
    static constexpr std::string_view name = "unit";
    static constexpr axis_place place = axis_place::tensor;
};
struct millimetre {
    using axis = unit;
};

using two_parts = gate::top_k<4, 2, gate::balance<0.01>, gate::z_loss<1e-3>, gate::temperature<0.3>, gate::over_all,
                              gate::learned_noise>;
using searching =
    gate::local_search<gate::comet<4, 2, 0.1, 0.5>, gate::search{.steps = 10, .apart = true, .entropy = 0.25}>;

} // namespace

TEST_CASE("describe names the numbers of policies", "[layer][describe]") {
    using stack =
        sequence<input<12>,
                 dense<8, activation::relu, dropout::bernoulli<0.1>, penalty::l1<1e-4>, transform::clip_value<0.5>,
                       activation_penalty::flops<schedule::linear{.from = 0.25, .to = 1.0, .steps = 3}>,
                       initial::uniform<-1, 0.5>>,
                 moe<two_parts, dense<8>, dispatch::automatic<0.2, 0.7>>, tap<"seen"_name, activation_penalty::l1<2.0>>,
                 dense<3>>;
    auto const report = report_of<stack>();
    std::vector<std::vector<std::string>> all;
    for (layer_info const& line : report.layers)
        if (!line.policies.empty())
            for (all.emplace_back(); policy_info const& policy : line.policies)
                all.back().push_back(policy.text());
    REQUIRE(all.size() >= 4);
    CHECK(all[0] == std::vector<std::string>{"activation relu", "dropout bernoulli(rate 0.100006)",
                                             "activation_penalty flops(coefficient 0.25)",
                                             "penalty l1(coefficient 0.0001)", "transform clip_value(maximum 0.5)",
                                             "initial uniform(low -1, high 0.5)"});
    CHECK(all[1] ==
          std::vector<std::string>{"gate top_k(slots 2, balance(coefficient 0.01), z_loss(coefficient 0.001), "
                                   "temperature(temperature 0.3), over_all, learned_noise)",
                                   "dispatch automatic(low 0.2, high 0.7)"});
    CHECK_THAT(describe<stack>(), contains_text("penalty l1(coefficient 0.0001), transform clip_value(maximum 0.5)"));
    CHECK_THAT(to_dot<stack>(), contains_text("penalty l1(coefficient 0.0001)"));
    CHECK_THAT(describe<stack>(), contains_text("activation_penalty l1(coefficient 2)"));

    // The same numbers as JSON, in full; several of one name are an array, a gate's parts are parts.
    auto const told = nlohmann::json::parse(describe_json<stack>());
    auto const& first = told["layers"][1];
    CHECK(first["path"] == "1");
    CHECK(first["input"] == nlohmann::json({12, 1, 1}));
    CHECK(first["policies"][1]["numbers"]["rate"].get<double>() == Approx(0.1).margin(1e-4));
    CHECK(first["policies"][3] ==
          nlohmann::json{{"axis", "penalty"}, {"name", "l1"}, {"numbers", {{"coefficient", 1e-4}}}});
    auto const& gate = told["layers"][2]["policies"][0];
    CHECK(gate["name"] == "top_k");
    CHECK(gate["numbers"]["slots"] == 2);
    CHECK(gate["parts"][0] == nlohmann::json{{"name", "balance"}, {"numbers", {{"coefficient", 0.01}}}});
    CHECK(gate["parts"][4] == nlohmann::json{{"name", "learned_noise"}});
    CHECK(told["taps"][0] == nlohmann::json{{"path", "3.seen"}, {"width", 8}});
    CHECK(told["tensors"].size() == report_of<stack>().tensors.size());
    CHECK(told["summary"]["parameters"] == summarise<stack>().parameters);
}

TEST_CASE("JSON of a stack says what has no number", "[layer][describe]") {
    using stack = sequence<input<2>, dense<2, penalty::l2<late{3.0}>>,
                           moe<gate::by_range<gate::ranges_between<0.0, 0.25, 1.0>>, dense<2>>>;
    auto const layers = nlohmann::json::parse(describe_json<stack>())["layers"];
    CHECK(layers[1]["policies"].back()["numbers"].is_null());
    CHECK(layers[2]["policies"][0]["numbers"]["bound"] == nlohmann::json({0.0, 0.25, 1.0}));
    layer_report report;
    report.add_layer("0", {}, {}, shape{2}, shape{2})
        .policies.push_back(
            {.axis = "penalty", .name = "endless", .numbers = {{"bound", INFINITY}, {"bound", 2, true}}, .parts = {}});
    auto const told = nlohmann::json::parse(detail::report_to_json(report, {}));
    CHECK(told["layers"][0]["policies"][0]["numbers"]["bound"] == nlohmann::json({"inf", 2}));
}

TEST_CASE("describe lists of what a layer inherits what it has an axis for", "[layer][describe]") {
    using inner = sequence<input<6>, dense<4>, moe<gate::softmax<2>, dense<4>>>;
    auto const report = report_of<everywhere<inner, millimetre, dispatch::dense, penalty::l1<0.5>>>();
    std::string const of_dense = "activation identity, penalty l1(coefficient 0.5)";
    REQUIRE(report.layers.size() == 5);
    CHECK(detail::policy_texts(report.layers[1]) == of_dense);
    CHECK(detail::policy_texts(report.layers[2]) == "gate softmax, dispatch dense");
    CHECK(detail::policy_texts(report.layers[3]) == of_dense);
    // what it has no axis for makes no other layer of it either
    CHECK(std::is_same_v<bound<everywhere<inner, millimetre>>, bound<inner>>);
}

TEST_CASE("describe names numbers as they were written", "[layer][describe]") {
    using linear = schedule::linear;
    CHECK(text_of_policy<penalty::elastic_net<0.25, linear{.from = 1.0, .to = 0.0, .steps = 9}>>() ==
          "penalty elastic_net(l1 0.25, l2 1)");
    CHECK(text_of_policy<penalty::proximal<penalty::group_lasso<1e-2, penalty::over::columns, "hidden"_name>>>() ==
          "penalty proximal_group_lasso(coefficient 0.01)");
    CHECK(text_of_policy<on<role::bias, penalty::l2<3.0>>>() == "penalty l2(coefficient 3)");
    CHECK(text_of_policy<dropout::filled<-1.0, dropout::unscaled<dropout::drop_segment<4, 0.5>>>>() ==
          "dropout filled_unscaled_drop_segment(rate 0.5, segment 4, value -1)");
    CHECK(text_of_policy<dropout::shared_by<&rows::group, dropout::drop_path<0.25>>>() ==
          "dropout shared_drop_path(rate 0.25)");
    CHECK(text_of_policy<prune::policy<prune::by_magnitude, prune::per_layer,
                                       prune::gradual{.from = 0.125, .to = 0.5, .steps = 9}, prune::decayed<0.75>>>() ==
          "prune magnitude per_layer decayed(decay 0.75, sparsity 0.125)");
    CHECK(text_of_policy<weight::low_rank<3, linear{.from = 2.0, .to = 3.0, .steps = 4}>>() ==
          "weight low_rank(rank 2)");
    CHECK(text_of_policy<gate::by_range<gate::ranges_between<0.0, 0.25, 1.0>>>() == "gate by_range(bound 0, 0.25, 1)");
    CHECK(text_of_policy<gate::by_range<halves>>() == "gate by_range");
    CHECK(text_of_policy<gate::softmax<4>>() == "gate softmax");
    CHECK(text_of_policy<gate::top_k<4, 1, gate::over_all>>() == "gate top_k(slots 1, over_all)");
    CHECK(text_of_policy<searching>() ==
          "gate local_search(temperature 0.0630957, noise 0, iterations 33, entropy 0.25, "
          "comet(width 0.5, entropy 0.1, trees 2))");
}

TEST_CASE("describe names the numbers of a program's own policies", "[layer][describe]") {
    // what has no place in 64 bits with a sign is written as a real number
    CHECK(text_of_policy<table>() == "penalty table(rows 1, 2, 3, 4.5, last_step 1.84467e+19)");
    CHECK(text_of_policy<spring<0.5>>() ==
          "penalty spring(strength 0.5, width 0.1, soft 1, parts 1, 2, 3, length 0.25, order 3, at_start 7.5)");
    CHECK(text_of_policy<plain>() == "activation plain(slope 0.5)");
    CHECK(text_of_policy<silent>() == "penalty silent");
    CHECK(text_of_policy<hana_spring>() == "penalty hana_spring(strength 0.25, order 3)");
}

TEST_CASE("a schedule without a value at step 0 leaves the rest of a description", "[layer][describe]") {
    using stack = sequence<input<2>, dense<2, penalty::l2<late{.value = 0.5}>, penalty::l1<0.5>>>;
    CHECK_THAT(describe<stack>(), contains_text("penalty l2(no numbers at step 0), penalty l1(coefficient 0.5)"));
}
