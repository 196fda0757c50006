// SPDX-License-Identifier: Apache-2.0
// Lesson 1: a network is a type. Writes a stack, trains it on 8x8 handwritten digits, saves it, loads it again, and
// shows that one seed gives one result.
//
//     example_01_quick_start [--quick] [FILE.csv]
#include <espalier/activation/relu.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/train/fit.hpp>

#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace esp = espalier;

// A layer is its width and a list of policies, in any order. The numbers are part of the type as well, but they are
// arguments of the compiled loops: another rate makes no new code.
using net = esp::sequence<esp::input<64>,
                          esp::dense<256, esp::activation::relu, esp::dropout::bernoulli<0.2>, esp::penalty::l2<1e-4>>,
                          esp::dense<10>>;

using model_type = esp::network<net, esp::device::cpu, float>;

static std::vector<float> outputs_of(model_type& model, esp::data_view data) {
    std::vector<float> y(static_cast<std::size_t>(data.count() * model_type::output_width));
    model.predict(data.features, esp::contiguous_view(y.data(), data.count(), model_type::output_width));
    return y;
}

static int run(bool quick, std::string const& file) {
    esp::data_set digits = esp::read_csv(file); // the label is the last column
    esp::scale(digits, 1.0 / 16);               // pixels are 0 to 16
    auto const [train, test] = esp::split(digits, digits.count * 3 / 4);
    std::printf("%s: %lld rows to train on, %lld to test, %lld features, %lld classes\n", file.c_str(),
                static_cast<long long>(train.count), static_cast<long long>(test.count),
                static_cast<long long>(digits.width), static_cast<long long>(esp::class_count(digits)));

    model_type model{esp::seed{42}};
    std::printf("the stack has %lld trained values; one network of it, %lld rows at a time\n\n",
                static_cast<long long>(model_type::parameter_count()), static_cast<long long>(model.capacity()));

    auto const loss = esp::loss::cross_entropy{};
    auto const optimizer = esp::optimizer::adamw{.learning_rate = 1e-3};
    esp::fit_options const options{.epochs = quick ? 3 : 20, .batch = 64, .validation = test};
    esp::history const history = esp::fit(model, loss, optimizer, train, options);
    for (esp::index_t r = 0; r < history.rows(); r += quick ? 1 : 5)
        std::printf("epoch %2.0f  loss %.4f  l2 %.4f  test accuracy %.4f\n", history.at(r, "epoch"),
                    history.at(r, "loss"), history.at(r, "1.kernel.l2"), history.at(r, "validation_accuracy"));

    esp::evaluation const result = esp::evaluate(model, loss, test);
    std::printf("\nafter %lld epochs the test accuracy is %.4f\n", static_cast<long long>(history.rows()),
                result.accuracy);

    // The file is safetensors, tensors named by layer path: Python's `safetensors` package opens it.
    auto const path = std::filesystem::temp_directory_path() /
                      ("espalier_quick_start_" + std::to_string(std::random_device{}()) + ".safetensors");
    esp::save(model, path);
    model_type loaded{esp::seed{7}};
    esp::load(loaded, path);
    std::filesystem::remove(path);
    bool const same_after_load = outputs_of(loaded, test) == outputs_of(model, test);
    std::printf("saved and loaded: the outputs are %s\n", same_after_load ? "bitwise equal" : "DIFFERENT");

    model_type again{esp::seed{42}};
    esp::fit(again, loss, optimizer, train, options);
    bool const repeatable = outputs_of(again, test) == outputs_of(model, test);
    std::printf("trained again with the same seed: the outputs are %s\n", repeatable ? "bitwise equal" : "DIFFERENT");

    bool const learned = result.accuracy > (quick ? 0.8 : 0.9);
    return same_after_load && repeatable && learned ? 0 : 1;
}

int main(int argc, char** argv) {
    bool quick = false;
    std::string file = ESPALIER_EXAMPLE_DATA "/digits.csv.gz";
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--quick") == 0)
            quick = true;
        else
            file = argv[i];
    }
    try {
        return run(quick, file);
    } catch (std::exception const& problem) { // a file that is not there, a label the network has no output for, ...
        std::fprintf(stderr, "quick start: %s\n", problem.what());
        return 1;
    }
}
