// SPDX-License-Identifier: Apache-2.0
// Spaces of specialisations: what is listed while compiling, and what is picked while running.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/parameters.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/space/select.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace espalier;
namespace hana = boost::hana;

namespace {

constexpr auto every =
    space(choices<"activation">(hana::tuple_t<activation::relu, activation::tanh>),
          choices<"dropout">(hana::tuple_t<dropout::none, dropout::bernoulli<0.25>, dropout::bernoulli<1.0 / 8>>),
          choices<"width">(hana::tuple_c<int, 3, 8>));
template <class A, class D, class W> using stack = sequence<input<4>, dense<W::value, A, D>, dense<2>>;

constexpr auto no_wide_without_dropout = where(every, [](auto const& c) {
    return c.is("dropout", "none") && c.value("width") > 3 ? "wide layers need dropout here" : nullptr;
});

template <int... Options> constexpr auto numbers = hana::tuple_c<int, Options...>;
constexpr auto threes = space(choices<"a">(numbers<1, 2, 3>), choices<"b">(numbers<1, 2, 3>),
                              choices<"c">(numbers<1, 2, 3>), choices<"d">(numbers<1, 2, 3>));
constexpr auto mixed = space(choices<"a">(numbers<1, 2, 3, 4>), choices<"b">(numbers<1, 2, 3>),
                             choices<"c">(numbers<1, 2, 3>), choices<"d">(numbers<1, 2>), choices<"e">(numbers<1, 2>));
constexpr auto sixes = space(choices<"a">(numbers<1, 2, 3, 4, 5, 6>), choices<"b">(numbers<1, 2, 3, 4, 5, 6>),
                             choices<"c">(numbers<1, 2, 3, 4, 5, 6>));

constexpr auto tens =
    space(choices<"a">(numbers<1, 2, 3, 4, 5, 6, 7, 8, 9, 10>), choices<"b">(numbers<1, 2, 3, 4, 5, 6, 7, 8, 9, 10>),
          choices<"c">(numbers<1, 2, 3, 4, 5, 6, 7, 8, 9, 10>), choices<"d">(numbers<1, 2, 3, 4, 5, 6, 7, 8, 9, 10>));

template <class Set> std::set<std::size_t> indices_of(Set) {
    std::set<std::size_t> out;
    for (std::size_t n = 0; n < Set::size; ++n)
        out.insert(Set::index(n));
    return out;
}

/// Pairs of options of different axes that the combinations have.
template <class Set> std::set<std::vector<std::size_t>> pairs_of(Set) {
    std::set<std::vector<std::size_t>> out;
    for (std::size_t n = 0; n < Set::size; ++n) {
        auto const d = Set::whole::digits(Set::index(n));
        for (std::size_t a = 0; a < Set::whole::axis_count; ++a)
            for (std::size_t b = a + 1; b < Set::whole::axis_count; ++b)
                out.insert({a, d.at[a], b, d.at[b]});
    }
    return out;
}

} // namespace

TEST_CASE("a space gives each combination once, as a type and by its names", "[space]") {
    STATIC_REQUIRE(decltype(every)::size == 12);
    std::set<std::string> texts;
    std::vector<index_t> widths;
    for_each<stack>(every, [&](auto net, combination const& which) {
        using type = typename decltype(net)::type;
        CHECK(which.index == texts.size());
        texts.insert(which.text());
        widths.push_back(bound<type>::input.size());
    });
    CHECK(texts.size() == 12);
    CHECK(texts.count("activation=relu dropout=none width=3") == 1);
    CHECK(texts.count("activation=tanh dropout=bernoulli<0.125> width=8") == 1);
    CHECK(widths == std::vector<index_t>(12, 4));
    using last = typename decltype(at<stack, 11>(every))::type;
    CHECK(std::is_same_v<last, stack<activation::tanh, dropout::bernoulli<1.0 / 8>, hana::integral_constant<int, 8>>>);
    // the last axis is the fastest
    CHECK(combination_at(every, 1).text() == "activation=relu dropout=none width=8");
}

TEST_CASE("labels are written as people write them and differ", "[space]") {
    using detail::option_label;
    auto const label = [](std::string_view written) {
        return option_label({.name = detail::bare_type(written)}, written);
    };
    CHECK(label("espalier::dropout::bernoulli<2.0000000000000001e-1>") == "bernoulli<0.2>");
    CHECK(label("espalier::dropout::bernoulli<2.000000e-01>") == "bernoulli<0.2>");
    CHECK(label("a::f<b::g<3, 4ul, 'x'>, c::h<true> >") == "f<g<3, 4, 'x'>, h<true>>");
    CHECK(label("espalier::x<espalier::over::rows, 1>") == "x<rows, 1>");
    CHECK(label("{anonymous}::x<{anonymous}::y<<unnamed>::z> >") == "x<y<z>>");
    CHECK(label("(anonymous namespace)::x<(anonymous namespace)::y>") == "x<y>");
    auto const twice = detail::label_axis(detail::name_from("axis", 4), {"same", "other", "same"});
    CHECK(twice.name == "axis");
    CHECK(twice.options == std::vector<std::string>{"same", "other", "same#2"});
    constexpr auto scheduled = space(choices<"penalty">(
        hana::tuple_t<penalty::l2<schedule::linear{.from = 0.5, .to = 0.0, .steps = 4}>, penalty::l2<0.5>>));
    auto const& options = decltype(scheduled)::labels().front().options;
    CHECK(options[0].substr(0, 15) == "l2<linear{0.5, ");
    CHECK(options[1] == "l2<0.5>");
}

namespace {

enum class mode { slow, fast };
struct fifth {
    static constexpr double value = 0.2;
};
struct half {
    static constexpr double value = 0.5;
};
struct a_member {
    int value;
};

constexpr auto own = space(choices<"bias">(hana::tuple_c<bool, false, true>),
                           choices<"mode">(hana::tuple_c<mode, mode::slow, mode::fast>),
                           choices<"rate">(hana::tuple_t<fifth, half>), choices<"rest">(hana::tuple_t<a_member>));
template <class B, class, class R, class>
using own_stack = sequence<input<B::value ? 4 : 3>, dense<R::value == 0.5 ? 8 : 2>>;

} // namespace

TEST_CASE("types, bools and enumerators of one's own are options by name", "[space]") {
    auto const& labels = decltype(own)::labels();
    CHECK(labels[0].options == std::vector<std::string>{"false", "true"});
    CHECK(labels[1].options == std::vector<std::string>{"slow", "fast"});
    CHECK(labels[2].options == std::vector<std::string>{"fifth", "half"});
    CHECK(labels[3].options == std::vector<std::string>{"a_member"});
    constexpr auto biased = where(own, [](auto const& c) {
        return c.value("bias") != 0 && c.is("bias", "true") && c.is("mode", "fast") && c.is("rate", "half");
    });
    STATIC_REQUIRE(decltype(biased)::size == 1);
    auto const words = choices_from_json(R"({"bias": true, "mode": "fast", "rate": "half", "rest": "a_member"})");
    CHECK(select<own_stack>(biased, words, [](auto net, combination const&) {
              return bound<typename decltype(net)::type>::output.size();
          }) == 8);
}

TEST_CASE("where leaves combinations out, with the reason", "[space]") {
    auto const kept = indices_of(no_wide_without_dropout);
    CHECK(kept.size() == 10);
    for (std::size_t index = 0; index < 12; ++index) {
        auto const d = decltype(every)::digits(index);
        bool const refused = d.at[1] == 0 && d.at[2] == 1;
        CHECK(kept.count(index) == !refused);
        char const* const reason = decltype(no_wide_without_dropout)::refusal(d);
        CHECK((reason != nullptr) == refused);
    }
    constexpr auto less = where(no_wide_without_dropout, [](auto const& c) { return c.is("activation", "tanh"); });
    CHECK(indices_of(less).size() == 5);
    CHECK(std::string(decltype(less)::refusal({{0, 0, 1}})) == "wide layers need dropout here");
    CHECK(std::string(decltype(less)::refusal({{0, 0, 0}})) == "the predicate says no");
}

TEST_CASE("a sample has different combinations, and another seed other ones", "[space]") {
    CHECK(indices_of(sample<40, 1>(threes)).size() == 40);
    CHECK(indices_of(sample<40, 1>(threes)) != indices_of(sample<40, 2>(threes)));
    CHECK(indices_of(sample<12>(every)).size() == 12);
    auto const kept = indices_of(no_wide_without_dropout);
    for (std::size_t const index : indices_of(sample<6, 3>(no_wide_without_dropout)))
        CHECK(kept.count(index) == 1);
    // Every combination is as likely as another one: 6 of 12, 400 seeds, 200 +- 10 each.
    std::vector<int> drawn(12);
    [&]<std::size_t... Seed>(std::index_sequence<Seed...>) {
        auto const count = [&](auto set) {
            for (std::size_t const index : indices_of(set))
                ++drawn[index];
        };
        // not a fold: Clang nests it, and not so deep
        int const done[] = {(count(sample<6, Seed>(every)), 0)...};
        static_cast<void>(done);
    }
    (std::make_index_sequence<400>{});
    for (int const times : drawn)
        CHECK(std::abs(times - 200) < 45);
}

TEST_CASE("the parts of a set are the set", "[space]") {
    std::set<std::size_t> together;
    std::size_t count = 0;
    auto const add = [&](auto set) {
        count += decltype(set)::size;
        together.merge(indices_of(set));
    };
    add(part<0, 3>(no_wide_without_dropout));
    add(part<1, 3>(no_wide_without_dropout));
    add(part<2, 3>(no_wide_without_dropout));
    CHECK(count == 10);
    CHECK(together == indices_of(no_wide_without_dropout));
    CHECK(indices_of(part<11, 12>(every)) == std::set<std::size_t>{11});
}

TEST_CASE("pairwise covers every pair that there is, with few combinations", "[space]") {
    auto const covers = [](auto whole, auto chosen, std::size_t most) {
        CHECK(pairs_of(chosen) == pairs_of(whole));
        CHECK(indices_of(chosen).size() == decltype(chosen)::size);
        CHECK(decltype(chosen)::size <= most);
        auto const kept = indices_of(whole);
        for (std::size_t const index : indices_of(chosen))
            CHECK(kept.count(index) == 1);
    };
    covers(every, pairwise(every), 6);
    covers(threes, pairwise(threes), 9);
    covers(mixed, pairwise(mixed), 12);
    covers(sixes, pairwise(sixes), 41);
    covers(no_wide_without_dropout, pairwise(no_wide_without_dropout), 8);
    STATIC_REQUIRE(decltype(pairwise(tens))::size <= 120);
    // a hole: where b is 1 only a = 1 is left, so that no combination has most pairs with b = 1
    constexpr auto holed = where(mixed, [](auto const& c) { return c.value("b") != 1 || c.value("a") == 1; });
    covers(holed, pairwise(holed), 14);
}

TEST_CASE("a stack is picked by names", "[space]") {
    auto const pick = [](auto set, std::vector<std::string> const& words) {
        return select<stack>(set, words, [](auto net, combination const& which) {
            using layer = bound<typename decltype(net)::type>;
            return std::pair{which.text(), layer::template size<float>().parameters > 0};
        });
    };
    CHECK(pick(every, {"tanh", "bernoulli<0.25>", "8"}).first == "activation=tanh dropout=bernoulli<0.25> width=8");
    CHECK(pick(every, {"width=3", "none", "activation=relu"}).first == "activation=relu dropout=none width=3");
    CHECK(pick(every, choices_from_json(R"({"width": 8, "activation": "tanh", "dropout": "none"})")).first ==
          "activation=tanh dropout=none width=8");

    auto const refused = [&](auto set, std::vector<std::string> const& words) {
        return message_of<data_error>([&] { pick(set, words); });
    };
    CHECK(refused(every, {"sigmoid", "none", "3"}) ==
          "select: axis 'activation' has no option 'sigmoid'; it has relu, tanh");
    CHECK(refused(every, {"relu", "bernoulli", "3"}) ==
          "select: several options of axis 'dropout' are called 'bernoulli'; write one of none, bernoulli<0.25>, "
          "bernoulli<0.125>");
    CHECK(refused(every, {"relu", "none"}) == "select: nothing is chosen for axis 'width'; it has 3, 8");
    CHECK(refused(every, {"relu", "none", "3", "8"}) ==
          "select: '8' is one word too many; the axes are activation, dropout, width");
    CHECK(refused(every, {"depth=3"}) == "select: there is no axis 'depth'; there are activation, dropout, width");
    CHECK(refused(every, {"width=3", "width=8"}) == "select: two words choose axis 'width'; leave one of them");
    CHECK(refused(no_wide_without_dropout, {"relu", "none", "8"}) ==
          "select: activation=relu dropout=none width=8 was left out of the set: wide layers need dropout here");
    CHECK_THAT(refused(sample<3>(every), {"relu", "none", "3"}),
               contains_text("is not one of the 3 combinations that were compiled"));
    CHECK(message_of<data_error>([] { choices_from_json("[1]"); }) == "select: the choices are no JSON object: [1]");
    CHECK(message_of<data_error>([] { choices_from_json(R"({"width": 1.5})"); }) ==
          "select: the choice of 'width' is no text, whole number or boolean: 1.5");
}
