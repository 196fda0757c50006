// SPDX-License-Identifier: Apache-2.0
// What the compiler once got wrong: the flags of our own programs have to keep it from that.
#include <support/catch.hpp>

#include <cstdint>
#include <vector>

namespace {
template <class T> [[gnu::noinline]] void check(std::vector<T> const& values, std::size_t filled, T value) {
    for (std::size_t i = 0; i < values.size(); ++i)
        CHECK(values[i] == (i < filled ? value : T(0)));
}
} // namespace

TEST_CASE("the compiler copies initialisers that end in zeros", "[core]") {
    check(std::vector<double>{0.25, 0.25, 0.0, 0.0}, 2, 0.25);
    check(std::vector<double>{0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0}, 4, 0.5);
    check(std::vector<std::int32_t>{7, 7, 7, 7, 0, 0, 0, 0}, 4, 7);
    check(std::vector<std::int64_t>{7, 7, 7, 0}, 3, std::int64_t{7});
    check(std::vector<float>{1.0f, 1.0f, 1.0f, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f}, 4, 1.0f);
}
