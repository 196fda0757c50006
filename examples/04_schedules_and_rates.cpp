// SPDX-License-Identifier: Apache-2.0
// Lesson 4: numbers that change. A schedule of your own, a value that the running program sets, learning rates and
// freezing by tensor, and a teacher: a second set of parameters that follows the first as an exponential average.
//
//     example_04_schedules_and_rates [--quick]
#include <espalier/activation/relu.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/schedule/warm_up.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/teacher.hpp>

#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace {

namespace esp = espalier;
using namespace esp::literals; // "rate"_name

// A schedule is an aggregate of numbers with `at`. `problem` and `range` are optional: with them a policy refuses wrong
// numbers while compiling, not at some step.
struct triangle { // up and down between two values
    double low = 0.0;
    double high = 0.0;
    std::uint64_t period = 1;

    constexpr double at(esp::clock const& now) const {
        double const phase = static_cast<double>(now.step % period) / static_cast<double>(period);
        return low + (high - low) * (phase < 0.5 ? 2.0 * phase : 2.0 - 2.0 * phase);
    }
    constexpr char const* problem() const { return period > 0 ? nullptr : "triangle: `period` must be positive"; }
    constexpr esp::schedule::bounds range() const { return esp::schedule::between(low, high); }
};
static_assert(esp::schedule::schedule<triangle>);

using net = esp::sequence<
    esp::input<64>,
    esp::dense<128, esp::activation::relu, esp::dropout::bernoulli<triangle{.low = 0.0, .high = 0.4, .period = 100}>>,
    esp::dense<64, esp::activation::relu,
               esp::dropout::bernoulli<esp::schedule::runtime{.name = "rate"_name, .initial = 0.3}>>,
    esp::dense<10>>;
using model_type = esp::network<net, esp::device::cpu, float>;

std::vector<float> copy_of(esp::matrix_view<float> m) {
    return {m.data, m.data + m.rows * m.columns};
}

double accuracy_of(model_type& model, esp::data_view data) {
    return esp::evaluate(model, esp::loss::cross_entropy{}, data).accuracy;
}

int run(bool quick) {
    esp::data_set digits = esp::read_csv(ESPALIER_EXAMPLE_DATA "/digits.csv.gz");
    esp::scale(digits, 1.0 / 16);
    auto const [train, test] = esp::split(digits, 1347);
    esp::index_t const epochs = quick ? 4 : 16;

    // Optimizers take schedules too: 40 steps of warm-up, then half a cosine.
    auto const cosine = esp::schedule::cosine{.from = 3e-3, .to = 1e-4, .steps = 400};
    auto const optimizer = esp::optimizer::adamw{.learning_rate = esp::schedule::warm_up{.steps = 40, .inner = cosine}};

    // 1. A value set while training: the rate of the second dropout is halved after every epoch.
    model_type model{esp::seed{5}};
    esp::fit_options options{.epochs = epochs, .batch = 64, .validation = test};
    options.values = {{"rate"_name, 0.3}};
    options.on_epoch = [](esp::history const& so_far, std::vector<esp::named_value>& values) {
        if (so_far.rows() <= 4)
            std::printf("epoch %2.0f  rate %.4f  loss %.4f  test accuracy %.4f\n", so_far.last("epoch"),
                        values[0].value, so_far.last("loss"), so_far.last("validation_accuracy"));
        values[0].value *= 0.5;
        return true; // false would end the training
    };
    esp::fit(model, esp::loss::cross_entropy{}, optimizer, train, options);
    double const pretrained = accuracy_of(model, test);
    std::printf("after %lld epochs: test accuracy %.4f\n\n", static_cast<long long>(epochs), pretrained);

    // 2. Fine-tuning: layer 1 stays as it is, biases learn at a tenth of the rate.
    auto const first = copy_of(model.tensor("1.kernel"));
    auto const head = copy_of(model.tensor("3.kernel"));
    esp::fit_options tuning{.epochs = 2, .batch = 64};
    tuning.rates = {{.tensor_role = esp::role::bias, .learning_rate = 0.1}, {.path = "1.", .frozen = true}};
    esp::fit(model, esp::loss::cross_entropy{}, optimizer, train, tuning);
    bool const frozen = copy_of(model.tensor("1.kernel")) == first;
    bool const moved = copy_of(model.tensor("3.kernel")) != head;
    std::printf("two more epochs with layer 1 frozen: its kernel is %s, the head's has %s\n",
                frozen ? "bitwise unchanged" : "CHANGED", moved ? "moved" : "NOT MOVED");

    // 3. A teacher: parameters are a value. With a high constant learning rate the student jitters, its average does
    // not.
    model_type student = model;
    esp::ema_teacher teacher{student, 0.98};
    esp::fit_options following{.epochs = epochs, .batch = 64};
    following.values = options.values;
    following.followers = {teacher.follow(student)}; // or teacher.update(student) in a loop of one's own
    esp::fit(student, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 1e-2}, train, following);
    model_type averaged = student;
    averaged.values() = teacher.values();
    averaged.refresh(); // weights were set by hand: what is derived from them (masks, operand copies) follows
    double const of_student = esp::evaluate(student, esp::loss::cross_entropy{}, test).loss;
    double const of_teacher = esp::evaluate(averaged, esp::loss::cross_entropy{}, test).loss;
    std::printf("student: test loss %.4f, accuracy %.4f\nteacher: test loss %.4f, accuracy %.4f\n", of_student,
                accuracy_of(student, test), of_teacher, accuracy_of(averaged, test));

    return frozen && moved && pretrained > 0.8 && accuracy_of(averaged, test) > 0.8 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run(argc > 1 && std::strcmp(argv[1], "--quick") == 0);
    } catch (std::exception const& problem) {
        std::fprintf(stderr, "schedules and rates: %s\n", problem.what());
        return 1;
    }
}
