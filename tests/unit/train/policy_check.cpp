// SPDX-License-Identifier: Apache-2.0
// check_policy: every shipped policy passes, and wrong ones fail with the point where they are wrong.
#include <espalier/activation/all.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/math.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/initial/he_normal.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/policy_check.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/low_rank.hpp>

#include <support/catch.hpp>

#include <string>
#include <string_view>

using namespace espalier;

namespace {

template <class... Ps> void all_pass() {
    (
        [] {
            auto const report = check_policy<Ps>();
            INFO(report.text);
            CHECK(report.ok());
        }(),
        ...);
}

template <class P> void fails(std::string_view line) {
    auto const report = check_policy<P>();
    INFO(report.text);
    CHECK_FALSE(report.ok());
    CHECK(report.text.find("FAIL  " + std::string(line)) != std::string::npos);
}

// ---- policies with a mistake

struct half_of_derivative {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "half_of_derivative";
    template <class T> ESPALIER_FN static T forward(T x) { return x * x; }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) { return dy * x; }
};
struct wrong_beyond_three {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::max;
        return max(x, T(scalar_of<T>(3)));
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::select;
        return select(x > T(scalar_of<T>(4)), dy, T(scalar_of<T>(0)));
    }
};
struct outside_the_slopes {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::abs;
        return abs(x);
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::select;
        T const zero(scalar_of<T>(0));
        return select(x > zero, dy, select(x < zero, -dy, dy + dy));
    }
};
struct reads_more {
    using axis = espalier::axis::activation;
    static constexpr bool reads_input = false;
    template <class T> ESPALIER_FN static T forward(T x) { return x * x; }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) { return (x + x) * dy; }
};
struct wrong_row {
    using axis = espalier::axis::activation;
    static constexpr bool row_form = true;
    template <class Group, class T, int N> static void forward(Group const& group, row<Group, T, N>& x) {
        row_softmax(group, x);
    }
    template <class Group, class T, int N>
    static void backward(Group const&, row<Group, T, N> const& y, row<Group, T, N>& dy) {
        for (int i = 0; i < y.local; ++i)
            dy.v[i] = y.v[i] * dy.v[i];
    }
};
struct without_scale {
    using axis = espalier::axis::dropout;
    static constexpr random_scope scope = random_scope::element;
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        using espalier::select;
        return select(bits >= Bits(16384), T(scalar_of<T>(1)), T(scalar_of<T>(0)));
    }
};
struct wrong_penalty {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w) const { return w * w * T(scalar_of<T>(1e-4)); }
    template <class T> ESPALIER_FN T gradient(T w) const { return w * T(scalar_of<T>(1e-4)); }
};
struct wrong_prox {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w) const { return w * w; }
    template <class T> ESPALIER_FN T gradient(T w) const { return w + w; }
    template <class T> ESPALIER_FN T prox(T w, T rate) const { return w / (T(scalar_of<T>(1)) + rate); }
};
struct wrong_group {
    using axis = espalier::axis::penalty;
    static constexpr group_scope groups = group_scope::rows;
    template <class T> ESPALIER_FN T gradient(T w, T) const { return w; }
    template <class T> ESPALIER_FN T group_value(T squared_norm) const { return squared_norm; }
};
struct wrong_group_prox : penalty::group_lasso_op<group_scope::rows> {
    using axis = espalier::axis::penalty;
    wrong_group_prox() : penalty::group_lasso_op<group_scope::rows>{0.5} {}
    template <class T> ESPALIER_FN T prox(T w, T rate, T) const { return w / (T(scalar_of<T>(1)) + rate); }
};
struct forgets_the_rows {
    using axis = espalier::axis::activation_penalty;
    static constexpr penalty_scope scope = penalty_scope::element;
    template <class T> ESPALIER_FN T contribution(T y) const { return y * y; }
    ESPALIER_FN double finish(double sum, double row_count) const { return sum / row_count; }
    template <class T> ESPALIER_FN T gradient(T y, T) const { return y + y; }
};
struct hidden_reference {
    using axis = espalier::axis::transform;
    [[maybe_unused]] static constexpr int stage = 0;
    template <class T, class Bits> ESPALIER_FN T apply(T g, transform_element<T, Bits> const& about) const {
        return g + about.reference;
    }
};
struct wrong_pull {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
    template <class T, class Keep> ESPALIER_FN static T pull(T g, T, Keep) { return g; }
    template <class T, class Keep> ESPALIER_FN static T store(T next, Keep) { return next; }
    template <class T, class Keep> ESPALIER_FN static T effective(T raw, Keep) { return raw + raw; }
};
struct no_operand {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = false;
    template <class T, class Keep> ESPALIER_FN static T pull(T g, T, Keep) { return g + g; }
    template <class T, class Keep> ESPALIER_FN static T store(T next, Keep) { return next; }
    template <class T, class Keep> ESPALIER_FN static T effective(T raw, Keep) { return raw + raw; }
};

template <double Slope> struct number_in_its_type {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x * T(scalar_of<T>(Slope)); }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy * T(scalar_of<T>(Slope)); }
};
struct slopes {
    int count;
    float slope;
};
template <slopes Given> struct number_in_a_structure {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x * T(scalar_of<T>(Given.slope)); }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy * T(scalar_of<T>(Given.slope)); }
};
template <double> struct half_of {};
template <class Of = half_of<0.5>> struct number_by_default {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x; }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy; }
};
template <int Slope> struct integer_in_its_type {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x * T(scalar_of<T>(Slope)); }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy * T(scalar_of<T>(Slope)); }
};
struct scaled_op {
    double slope;
    template <class T> ESPALIER_FN T forward(T x) const { return x * T(static_cast<scalar_of<T>>(slope)); }
    template <class T> ESPALIER_FN T backward(T, T, T dy) const { return dy * T(static_cast<scalar_of<T>>(slope)); }
};
template <double Slope> struct number_in_its_op {
    using axis = espalier::axis::activation;
    using op = scaled_op;
    static op at(espalier::clock const&) { return op{Slope}; }
};

} // namespace

TEST_CASE("check_policy: every shipped activation passes", "[train][policy_check]") {
    all_pass<activation::gelu, activation::gelu_tanh, activation::identity, activation::relu, activation::sigmoid,
             activation::silu, activation::softmax, activation::tanh>();
}

TEST_CASE("check_policy: every shipped penalty passes", "[train][policy_check]") {
    all_pass<penalty::l1<1e-4>, penalty::l1<0.3>, penalty::l2<1e-4>, penalty::l2<2.0>, penalty::elastic_net<0.1, 0.2>,
             penalty::group_lasso<1e-3, penalty::over::rows>, penalty::proximal<penalty::l1<0.01>>,
             penalty::proximal<penalty::elastic_net<0.1, 0.2>>,
             penalty::proximal<penalty::group_lasso<0.3, penalty::over::columns>>, on<role::bias, penalty::l2<0.5>>,
             activation_penalty::l1<1e-3>, activation_penalty::flops<1e-3>>();
}

TEST_CASE("check_policy: shipped dropouts, transforms, weight maps and the rest pass", "[train][policy_check]") {
    all_pass<dropout::none, dropout::bernoulli<0.3>, dropout::drop_path<0.1>, transform::agreement<0.5>,
             transform::clip_value<1.0>, transform::clip_global_norm<1.0>, transform::gradient_dropout<0.25>,
             weight::identity, weight::fixed_mask, weight::low_rank<3>, initial::he_normal>();
    // the numbers of another time
    espalier::clock late;
    late.step = 50;
    CHECK(check_policy<dropout::bernoulli<schedule::linear{.from = 0.0, .to = 0.5, .steps = 100}>>(late).ok());
}

TEST_CASE("check_policy: a number in the type of an op is a mistake, a number in the op is not",
          "[train][policy_check]") {
    std::string_view const line = "no floating-point number in the type of its op";
    fails<number_in_its_type<1.0 / 3.0>>(line);
    fails<number_in_its_type<0.25>>(line);
    fails<number_in_its_type<-0.0>>(line);
    fails<number_in_a_structure<slopes{2, 0.5f}>>(line);
    fails<number_by_default<>>(line);
    CHECK(check_policy<number_in_its_type<0.25>>().failures == 1);
    all_pass<integer_in_its_type<3>, number_in_its_op<1.0 / 3.0>>();
    // Names as the two compilers mangle them: integers, an enumeration and digits in a name are no numbers.
    using detail::has_floating_argument;
    STATIC_REQUIRE(has_floating_argument("1aILi4ELd4000000000000000EE"));
    STATIC_REQUIRE(has_floating_argument("1bIXtl3linLi3ELf3dcccccdEEE"));
    STATIC_REQUIRE(has_floating_argument("1bILe0000000000003ffbcccccccccccccccdEE"));
    STATIC_REQUIRE(has_floating_argument("1bILe3ffbcccccccccccccccdEE"));
    STATIC_REQUIRE(!has_floating_argument("1bILi33554432EL1e1ELb1ELin1EE"));
    STATIC_REQUIRE(!has_floating_argument("22has_Ld400000000000000_x"));
    STATIC_REQUIRE(!has_floating_argument("1bILd4000000000000000"));
    // A rule, and gates: their ops are looked at, and nothing else of them.
    all_pass<prune::magnitude<0.3, prune::per_layer, prune::decayed<0.3>>, gate::expert_choice<4, 1.0 / 3.0>,
             gate::by_range<gate::ranges_between<0.0, 1.0 / 3.0, 1.0>>, gate::comet<4, 2, 0.3, 0.7>,
             gate::top_k<4, 2, gate::temperature<0.3>, gate::balance<0.3>>>();
    // Where only the host reads a number it may stand anywhere.
    all_pass<initial::uniform<-0.3, 0.3>, dispatch::capacity<1.25>,
             weight::low_rank<3, schedule::linear{.from = 1.5, .to = 3.0, .steps = 10}>>();
}

TEST_CASE("check_policy: the report names the policy, the check and the point", "[train][policy_check]") {
    auto const report = check_policy<half_of_derivative>();
    CHECK(report.failures == 1);
    CHECK(report.text.starts_with("half_of_derivative on axis activation\n"));
    // the first point is -5 + 10 * 0.371 / 64
    CHECK(report.text.find("  FAIL  backward is the derivative of forward at x = -4.94203125: given -4.94203125, "
                           "expected -9.8840625") != std::string::npos);
    CHECK(report.text.find("  ok    backward is proportional to dy: 4 points") != std::string::npos);
}

TEST_CASE("check_policy: wrong policies fail where they are wrong", "[train][policy_check]") {
    fails<wrong_beyond_three>("backward is the derivative of forward at x = 3.0");
    fails<outside_the_slopes>("backward is the derivative of forward at x = 0: given 2");
    fails<reads_more>("backward reads what it declares, no more at x = -2.3: given nan");
    fails<wrong_row>("gradient of a row at column 0");
    fails<without_scale>("the mean factor over all draws is 1 at all 65536 draws: given 0.75, expected 1");
    fails<wrong_penalty>("gradient is the derivative of value at w = -4.94203125");
    fails<wrong_prox>("prox minimises value(u) + (u - w)^2 / (2 rate) at w = -3.2, rate = 0.05");
    fails<wrong_group_prox>("prox minimises group_value(|u|^2) + |u - w|^2 / (2 rate) at w = (-3.2, 0), rate = 0.05");
    fails<wrong_group>("gradient is the derivative of the group's value at w = -4.94203125");
    fails<forgets_the_rows>("gradient is the derivative of the term at y = ");
    fails<hidden_reference>("reads what it declares, no more at g = -3: the result depends on about.reference");
    fails<wrong_pull>("pull is the derivative of effective at w = -4.94203125: given 1, expected 2");
    fails<no_operand>("store keeps what it stored, and products may read it at w = -2");
}
