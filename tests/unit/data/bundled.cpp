// SPDX-License-Identifier: Apache-2.0
// The data files that come with the project are what their README says.
#include <espalier/data/csv.hpp>
#include <espalier/data/idx.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <filesystem>

namespace {

std::filesystem::path bundled(char const* name) {
    return std::filesystem::path(ESPALIER_EXAMPLE_DATA) / name;
}

void check_pixels(espalier::data_set const& data, espalier::index_t count, espalier::index_t width) {
    CHECK(data.count == count);
    CHECK(data.width == width);
    CHECK_NOTHROW(espalier::check(data, "bundled data", 10));
    CHECK(espalier::class_count(data) == 10);
    auto const [low, high] = std::minmax_element(data.features.begin(), data.features.end());
    CHECK(*low == 0.0f);
    CHECK(*high == 1.0f);
    for (std::int32_t digit = 0; digit < 10; ++digit) {
        auto const found = std::count(data.labels.begin(), data.labels.end(), digit);
        CHECK(found > count / 15); // every digit is there, none rare
        CHECK(found < count / 7);
    }
}

} // namespace

TEST_CASE("the bundled digits") {
    auto digits = espalier::read_csv(bundled("digits.csv.gz"));
    espalier::scale(digits, 1.0 / 16);
    check_pixels(digits, 1797, 64);
    CHECK(digits.feature_names.empty());
    // The first image is a zero and starts 0 0 5 13.
    CHECK(digits.labels[0] == 0);
    CHECK(digits.features[3] == 13.0f / 16);
}

TEST_CASE("the bundled MNIST subset") {
    check_pixels(espalier::read_mnist(bundled("mnist8k-train-images-idx3-ubyte.gz"),
                                      bundled("mnist8k-train-labels-idx1-ubyte.gz")),
                 8000, 784);
    check_pixels(espalier::read_mnist(bundled("mnist8k-test-images-idx3-ubyte.gz"),
                                      bundled("mnist8k-test-labels-idx1-ubyte.gz")),
                 2000, 784);
}
