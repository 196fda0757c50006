// SPDX-License-Identifier: Apache-2.0
// Lesson 2: a policy of your own is one small struct. Three of them, an activation, a penalty on weights and a dropout,
// each checked against central differences and then trained together. The last check is of an activation with a wrong
// derivative: it must fail.
//
//     example_02_write_a_policy [--quick]
#include <espalier/activation/concept.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/policy_check.hpp>

#include <cstdio>
#include <cstring>
#include <exception>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace esp = espalier;

// An activation: forward and its derivative. T is float, double or a pack of 16 floats (8 doubles), on CUDA a float: no
// branches on values of T, `select(condition, a, b)` instead, and constants written T(scalar). exp, log, max, ... for
// all of them are in namespace espalier.
struct softplus { // y = log(1 + exp(x)), without overflow
    using axis = esp::axis::activation;
    static constexpr std::string_view name = "softplus";
    static constexpr bool reads_output = false; // backward needs x only

    template <class T> ESPALIER_FN static T forward(T x) {
        using esp::abs, esp::exp, esp::log, esp::max;
        return max(x, T(0)) + log(T(1) + exp(-abs(x)));
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using esp::sigmoid;
        return dy * sigmoid(x);
    }
};

// A penalty. It has numbers, so it comes in two parts: the op, whose members are the numbers of this step and whose
// type is what loops are compiled for; and the policy, which a stack names and whose `at` makes the op from the clock.
struct cauchy_op { // c / 2 * log(1 + (w / s)^2): l2 for small weights, forgiving for large ones
    double coefficient;
    double scale;

    template <class T> ESPALIER_FN T value(T w) const {
        using esp::log;
        T const ratio = w / number<T>(scale);
        return number<T>(0.5 * coefficient) * log(T(1) + ratio * ratio);
    }
    template <class T> ESPALIER_FN T gradient(T w) const {
        return number<T>(coefficient) * w / (number<T>(scale * scale) + w * w);
    }
    template <class T> ESPALIER_FN static T number(double x) { return T(static_cast<esp::scalar_of<T>>(x)); }
};

template <auto Coefficient, auto Scale> struct cauchy { // both: a number, or any schedule
    using axis = esp::axis::penalty;
    static constexpr std::string_view name = "cauchy";
    using op = cauchy_op;
    static op at(esp::clock const& now) {
        return {esp::schedule::value_at(Coefficient, now), esp::schedule::value_at(Scale, now)};
    }
};

// A dropout: a random factor of mean 1. `bits` are 16 uniform random bits of this element, the same in forward and
// backward, on the CPU and on CUDA, for every batch split; nothing is stored.
struct uniform_noise_op { // factor uniform in (1 - width, 1 + width)
    double width;

    static constexpr esp::random_scope scope = esp::random_scope::element;
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        using S = esp::scalar_of<T>;
        T const centred = static_cast<T>(bits) - T(S(32767.5)); // the mean of 0 ... 65535 is 32767.5, so E[factor] = 1
        return T(1) + centred * T(static_cast<S>(width / 32768.0));
    }
};

template <auto Width> struct uniform_noise {
    using axis = esp::axis::dropout;
    static constexpr std::string_view name = "uniform_noise";
    using op = uniform_noise_op;
    static op at(esp::clock const& now) { return op{esp::schedule::value_at(Width, now)}; }
};

// The seams' concepts say at once whether a member is missing or has a wrong type.
static_assert(esp::activation::element_activation<softplus>);
static_assert(esp::penalty::element_penalty<cauchy<1e-3, 0.1>>);
static_assert(esp::dropout::random_field<uniform_noise<0.5>>);

struct wrong_softplus : softplus { // the derivative of something else
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) { return dy * x; }
};

template <class... Policies> static bool check(char const* what) {
    using stack = esp::sequence<esp::input<7>, esp::dense<19, Policies...>, esp::dense<5>>;
    esp::gradient_report const report =
        esp::check_gradients_of<stack, esp::device::cpu>(esp::loss::mean_squared_error{});
    std::printf("%-26s worst error %.1e of %lld gradients: %s\n", what, report.worst,
                static_cast<long long>(report.checked), report.ok() ? "right" : "WRONG");
    return report.ok();
}

// A policy on its own: members, derivative, mean of a dropout's factors over all draws, packs against single numbers.
// It covers what enters outside of backward as well, such as the gradient of a penalty.
template <class Policy> static bool check_alone(char const* what) {
    esp::policy_report const report = esp::check_policy<Policy>();
    std::printf("%-26s %d checks, %d failures\n%s", what, report.checks, report.failures,
                report.ok() ? "" : report.text.c_str());
    return report.ok();
}

int main(int argc, char** argv) {
    bool const quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
    try {
        bool good = check_alone<softplus>("softplus");
        good = check_alone<cauchy<1e-3, 0.1>>("cauchy<1e-3, 0.1>") && good;
        good = check_alone<uniform_noise<0.5>>("uniform_noise<0.5>") && good;
        good = !check_alone<wrong_softplus>("softplus, wrong derivative") && good; // the check can tell
        std::puts("");

        good = check<softplus>("softplus in a layer") && good;
        good = check<uniform_noise<0.5>>("uniform_noise<0.5>") && good;
        good = check<softplus, uniform_noise<0.5>>("both") && good;
        good = !check<wrong_softplus>("softplus, wrong derivative") && good;

        // Order does not matter, and any schedule fits where a number does: the noise fades out over 300 steps.
        constexpr auto fading = esp::schedule::linear{.from = 0.8, .to = 0.0, .steps = 300};
        using net = esp::sequence<esp::input<64>, esp::dense<128, uniform_noise<fading>, cauchy<1e-3, 0.1>, softplus>,
                                  esp::dense<10>>;
        esp::data_set digits = esp::read_csv(ESPALIER_EXAMPLE_DATA "/digits.csv.gz");
        esp::scale(digits, 1.0 / 16);
        auto const [train, test] = esp::split(digits, 1347);
        esp::network<net, esp::device::cpu, float> model{esp::seed{1}};
        esp::history const history =
            esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 3e-3}, train,
                     {.epochs = quick ? 5 : 15, .batch = 64, .validation = test});
        double const accuracy = history.last("validation_accuracy");
        std::printf("\nall three in one layer, %lld epochs on digits: test accuracy %.4f, cauchy term %.4f -> %.4f\n",
                    static_cast<long long>(history.rows()), accuracy, history.at(0, "1.kernel.cauchy"),
                    history.last("1.kernel.cauchy"));
        return good && accuracy > 0.8 ? 0 : 1;
    } catch (std::exception const& problem) {
        std::fprintf(stderr, "write a policy: %s\n", problem.what());
        return 1;
    }
}
