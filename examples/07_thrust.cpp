// SPDX-License-Identifier: Apache-2.0
// Lesson 7: inside a program that uses Thrust. Letters, described by 16 numbers each, lie in Thrust's vectors; its
// algorithms standardise them, a network is trained on them where they lie, policies run in algorithms, and algorithms
// count what came out.
//
//     example_07_thrust [--quick]
#include <espalier/activation/relu.hpp>
#include <espalier/activation/sigmoid.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/data/table.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/unscaled.hpp>
#include <espalier/functor/dropout_at.hpp>
#include <espalier/functor/forward.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/thrust/view.hpp>
#include <espalier/train/fit.hpp>

#include <thrust/count.h>
#include <thrust/device_vector.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/permutation_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace esp = espalier;

constexpr esp::index_t letter_width = 16, classes = 26;
using net = esp::sequence<esp::input<letter_width>, esp::dense<128, esp::activation::relu>, esp::dense<classes>>;
using model_type = esp::network<net, esp::device::cpu, float>;
// Where the algorithms of Thrust run is said to CMake (ESPALIER_THRUST_SYSTEM): on one thread, by OpenMP, by TBB.
using floats = thrust::device_vector<float>;

// Place of row r in a column of a row-major matrix.
struct in_column {
    esp::index_t column;
    esp::index_t operator()(esp::index_t r) const { return r * letter_width + column; }
};
struct square_of_distance {
    double mean;
    double operator()(float x) const { return (x - mean) * (x - mean); }
};
struct standardised {
    double mean, factor;
    float operator()(float x) const { return static_cast<float>((x - mean) * factor); }
};
// Whether the largest output of a row is that of its label.
struct is_right {
    esp::matrix_view<float const> outputs;
    esp::column_view<std::int32_t const> labels;
    bool operator()(esp::index_t r) const {
        esp::index_t best = 0;
        for (esp::index_t c = 1; c < outputs.columns; ++c)
            if (outputs(r, c) > outputs(r, best)) best = c;
        return best == labels[r];
    }
};

// Mean 0 and variance 1 of every column; what is found in the first `known` rows is applied to all.
static void standardise(floats& x, esp::index_t known) {
    auto const rows = static_cast<esp::index_t>(x.size()) / letter_width;
    for (esp::index_t c = 0; c < letter_width; ++c) {
        auto const places =
            thrust::make_transform_iterator(thrust::make_counting_iterator(esp::index_t(0)), in_column{c});
        auto const column = thrust::make_permutation_iterator(x.begin(), places);
        double const mean = thrust::reduce(column, column + known, 0.0) / static_cast<double>(known);
        double const variance =
            thrust::transform_reduce(column, column + known, square_of_distance{mean}, 0.0, thrust::plus<double>()) /
            static_cast<double>(known);
        thrust::transform(column, column + rows, column, standardised{mean, 1.0 / std::sqrt(variance)});
    }
}

static double share_of_right(model_type& model, floats const& x, esp::index_t first, esp::index_t count,
                             esp::column_view<std::int32_t const> labels, floats& y) {
    y.resize(static_cast<std::size_t>(count * classes));
    model.predict(esp::view(x, letter_width).middle_rows(first, count), esp::view(y, classes));
    is_right const right{esp::view(y, classes), labels.middle(first, count)};
    auto const rows = thrust::make_counting_iterator(esp::index_t(0));
    return static_cast<double>(thrust::count_if(rows, rows + count, right)) / static_cast<double>(count);
}

int main(int argc, char** argv) try {
    bool const quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
    esp::data_set const letters = esp::read_csv(ESPALIER_EXAMPLE_DATA "/letter.csv.gz", {.label_column = "lettr"});
    esp::index_t const known = letters.count * 4 / 5, unknown = letters.count - known;

    floats x(letters.features.begin(), letters.features.end());
    thrust::device_vector<std::int32_t> const labels(letters.labels.begin(), letters.labels.end());
    standardise(x, known);

    // The vectors are the data: nothing is copied but rows into batches.
    esp::data_view all{esp::numbers(x, letter_width)};
    all.labels = esp::tags(labels);
    auto const [train, test] = esp::split(all, known);

    model_type model{esp::seed{7}};
    esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 2e-3},
             quick ? train.middle_rows(0, known / 4) : train,
             {.epochs = quick ? 3 : 15, .batch = 64, .validation = test, .progress = !quick});

    floats y;
    std::printf("right of %lld letters: %.4f\n", static_cast<long long>(unknown),
                share_of_right(model, x, known, unknown, all.labels, y));

    // An activation in an algorithm: outputs as independent probabilities, and how many of them are likely.
    thrust::transform(y.begin(), y.end(), y.begin(), esp::forward<esp::activation::sigmoid>());
    auto const likely = thrust::count_if(y.begin(), y.end(), [](float p) { return p > 0.5f; });
    std::printf("outputs above 1/2 a letter: %.2f\n", static_cast<double>(likely) / static_cast<double>(unknown));

    // A dropout in an algorithm, as it would act in a layer: an eighth of the features is missing. A missing feature is
    // 0, the mean.
    using missing = esp::dropout::unscaled<esp::dropout::bernoulli<0.125>>;
    auto const drops =
        esp::dropout_at<missing>(esp::dropout_site<missing>(7, 0, 0), {.count = letters.count}, letter_width);
    floats incomplete(x.size());
    auto const places = thrust::make_counting_iterator(esp::index_t(0));
    thrust::transform(places, places + letters.count * letter_width, x.begin(), incomplete.begin(), drops);
    std::printf("right with an eighth of the features missing: %.4f\n",
                share_of_right(model, incomplete, known, unknown, all.labels, y));
    return 0;
} catch (std::exception const& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
}
