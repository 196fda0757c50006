// SPDX-License-Identifier: Apache-2.0
// Masks that Thrust's systems select against those of the serial selection, which tests/unit/prune compares with
// sorting.
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/thrust/select.hpp>

#include <support/catch.hpp>
#include <support/kinds_of_weights.hpp>
#include <support/thrust_systems.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

using namespace espalier;

namespace {

using masks = std::vector<std::vector<std::uint32_t>>;

/// Every key there is, the largest one too.
struct by_bits {
    template <class T> ESPALIER_FN static auto key(T w) { return to_bits(w); }
};

template <class T, class Select> masks masks_by(std::vector<std::vector<T>> const& tensors, Select const& select) {
    masks of_all;
    for (auto const& t : tensors)
        of_all.emplace_back((t.size() + 31) / 32, 0xdeadbeefu);
    std::vector<prune::piece<T>> pieces;
    for (std::size_t i = 0; i < tensors.size(); ++i)
        pieces.push_back({tensors[i].data(), static_cast<index_t>(tensors[i].size()), of_all[i].data()});
    select(pieces);
    return of_all;
}

template <class Criterion, class T>
void compare_with_serial(std::vector<std::vector<T>> const& tensors, std::vector<double> const& shares) {
    index_t n = 0;
    for (auto const& t : tensors)
        n += static_cast<index_t>(t.size());
    for (double share : shares) {
        // a share below 0 counts from the end
        auto const keep = static_cast<index_t>(share < 0   ? static_cast<double>(n) + share
                                               : share < 1 ? share * static_cast<double>(n)
                                                           : share);
        masks const expected =
            masks_by(tensors, [&](auto const& pieces) { prune::select_largest<Criterion>(pieces, keep); });
        INFO(keep << " of " << n);
        on_every_system([&](auto const& system) {
            bool const same = expected == masks_by(tensors, [&](auto const& pieces) {
                                  prune::select_largest<Criterion>(system, pieces, keep);
                              });
            CHECK(same);
        });
    }
}

constexpr index_t two_slices = 2 * prune::detail::smallest_slice;

} // namespace

TEMPLATE_TEST_CASE("Thrust selects the masks of the serial selection, whatever the weights are", "[thrust]", float,
                   double) {
    using T = TestType;
    std::mt19937_64 random(13);
    for (std::size_t n : {1u, 31u, 32u, 33u, 513u, 65535u, 66049u})
        for (auto const& tensor : espalier_test::kinds_of_weights<T>(n, random))
            compare_with_serial<prune::by_magnitude, T>({tensor}, {0, 1, 0.2, 0.5, 0.9, -1, 1e9});
}

TEST_CASE("Thrust selects over several pieces, ties going to the earlier one", "[thrust]") {
    std::mt19937_64 random(17);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> tied, any;
    for (std::size_t n : {700u, 0u, 1u, 40001u, 512u, 33u, 60000u, 0u}) {
        std::vector<float> w(n), v(n);
        for (std::size_t i = 0; i < n; ++i) {
            w[i] = static_cast<float>(static_cast<int>(random() % 9) - 4);
            v[i] = normal(random) * static_cast<float>(n);
        }
        tied.push_back(w);
        any.push_back(v);
    }
    std::vector<double> const shares{1, 699, 701, 0.01, 0.125, 0.35, 0.5, 0.77, 0.95, -33, -1};
    compare_with_serial<prune::by_magnitude, float>(tied, shares);
    compare_with_serial<prune::by_magnitude, float>(any, shares);
    for (auto& t : tied)
        std::fill(t.begin(), t.end(), 1.0f);
    compare_with_serial<prune::by_magnitude, float>(tied, shares);
    compare_with_serial<prune::by_magnitude, float>({}, {0, 1});
}

// More equal keys than can be sorted out at the end, strictly between two keys of the sample; and the largest key of
// all.
TEST_CASE("Thrust tells equal keys from their neighbours", "[thrust]") {
    std::mt19937_64 random(19);
    std::vector<float> levels(120000), close(120000), largest(120000);
    std::vector<float> value(100, 1.0f);
    for (std::size_t i = 1; i < value.size(); ++i)
        value[i] = std::nextafter(value[i - 1], 2.0f);
    for (std::size_t i = 0; i < levels.size(); ++i) {
        levels[i] = static_cast<float>(static_cast<int>(random() % 100) - 50) / 64.0f;
        close[i] = value[random() % 100];
        largest[i] = from_bits(random() % 2 == 0 ? ~std::uint32_t(0) : static_cast<std::uint32_t>(random() % 3));
    }
    std::vector<double> const shares{1, 0.1, 0.3, 0.5, 0.9, -1};
    compare_with_serial<prune::by_magnitude, float>({levels}, shares);
    compare_with_serial<prune::by_magnitude, float>({close, levels}, shares);
    compare_with_serial<by_bits, float>({largest}, shares);
}

TEST_CASE("a sample that misleads Thrust's selection costs time, not exactness", "[thrust]") {
    std::mt19937_64 random(23);
    std::normal_distribution<float> normal;
    index_t const n = two_slices + 1000, stretch = prune::detail::sample_stretch(n);
    for (float factor : {1e-6f, 0.0f, 1e6f, std::numeric_limits<float>::infinity()}) {
        std::vector<float> w(static_cast<std::size_t>(n));
        for (index_t i = 0; i < n; ++i) {
            bool const sampled = i % stretch == prune::detail::sampled_place(i / stretch, stretch);
            w[static_cast<std::size_t>(i)] = normal(random) * (sampled ? factor : 1.0f);
        }
        compare_with_serial<prune::by_magnitude, float>({w}, {1, 0.01, 0.3, 0.9, -1});
    }
}

namespace {

/// Counts the bytes that a policy takes from it.
struct counting_allocator {
    using value_type = char;
    struct counts {
        index_t taken = 0, live = 0, most = 0;
    };
    counts* bytes;

    char* allocate(std::ptrdiff_t n) {
        bytes->taken += n;
        bytes->live += n;
        bytes->most = std::max(bytes->most, bytes->live);
        return new char[static_cast<std::size_t>(n)];
    }
    void deallocate(char* p, std::size_t n) {
        bytes->live -= static_cast<index_t>(n);
        delete[] p;
    }
};

/// What `select(system, pieces)` takes from the allocator of a system, to select as the serial selection does.
template <class Select>
counting_allocator::counts bytes_taken(std::vector<float> const& w, index_t keep, Select const& select) {
    std::vector<std::vector<float>> const tensors{w};
    counting_allocator::counts counts;
    counting_allocator allocator{&counts};
    masks const expected =
        masks_by(tensors, [&](auto const& pieces) { prune::select_largest<prune::by_magnitude>(pieces, keep); });
    masks const ours = masks_by(tensors, [&](auto const& pieces) { select(thrust::cpp::par(allocator), pieces); });
    CHECK(ours == expected);
    CHECK(counts.live == 0);
    return counts;
}

} // namespace

TEST_CASE("Thrust's selection takes its memory from the policy's allocator and gives it back", "[thrust]") {
    std::mt19937_64 random(29);
    std::normal_distribution<float> normal;
    std::vector<float> w(static_cast<std::size_t>(4 * two_slices));
    for (float& x : w)
        x = normal(random);
    index_t const keep = two_slices;
    index_t const eight_surveys = bytes_taken(w, keep, [&](auto const& system, auto const& pieces) {
                                      prune::select_largest<prune::by_magnitude>(system, pieces, keep);
                                  }).taken;
    CHECK(eight_surveys >= 8 * 8192);
    CHECK(eight_surveys < 8 * 8192 + 1024);
}

// Single elements: keys between two of the sample are sorted. A sample that is off by more than its share of chance is
// asked for bounds further apart, and not all keys beyond are taken.
TEST_CASE("Thrust's selection sorts few keys, even where the sample is a little off", "[thrust]") {
    std::mt19937_64 random(31);
    std::uniform_real_distribution<float> uniform;
    index_t const n = 140000, stretch = prune::detail::sample_stretch(n);
    std::vector<float> even(static_cast<std::size_t>(n)), off(even.size());
    for (index_t i = 0; i < n; ++i) {
        auto const k = static_cast<std::size_t>(i);
        even[k] = off[k] = uniform(random);
        if (i % stretch == prune::detail::sampled_place(i / stretch, stretch)) off[k] *= 1.15f;
    }
    index_t const keys = 4 * n;
    auto const by_words = [&](auto const& system, auto const& pieces) {
        prune::detail::select_by_words<prune::by_magnitude, std::uint32_t>(system, pieces, n, n / 2);
    };
    CHECK(bytes_taken(even, n / 2, by_words).most < keys / 4);
    CHECK(bytes_taken(off, n / 2, by_words).most < keys / 10 * 7);
}

TEST_CASE("Thrust's selection by sparsity keeps as many weights as the serial one", "[thrust]") {
    std::vector<float> const w{3, -1, 2, -2};
    std::uint32_t mask = ~0u;
    prune::piece<float> const whole[] = {{w.data(), 4, &mask}};
    prune::select_threshold<prune::by_magnitude>(thrust::cpp::par, whole, 0.5);
    CHECK(mask == 0b0101u); // 3 and the first of the two 2s
    CHECK_THROWS_AS(prune::select_threshold<prune::by_magnitude>(thrust::cpp::par, whole, 1.5), data_error);
    CHECK(mask == 0b0101u);
}
