// SPDX-License-Identifier: Apache-2.0
// Standard normal numbers for the rows of a batch, in the scalar of the computation: the noise of gates. What has to be
// the same on every machine to the last bit, the first weights, is drawn by `standard_normal` (core/random.hpp).
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstdint>

namespace espalier {

/// cos(2 pi t) for t in [-1/4, 1], to 2e-7 (float) or 1e-15 (double): cos is even, and the sine of what is left to a
/// quarter turn has a short series.
template <class T> ESPALIER_FN T cosine_of_turns(T const& t) {
    using S = scalar_of<T>;
    T const half = select(t > T(S(0.5)), T(S(1)) - t, abs(t));
    T const y = T(S(0.25)) - half, y2 = y * y;
    // sin(2 pi y) = sum over k of (-1)^k (2 pi y)^(2 k + 1) / (2 k + 1)!
    constexpr double tau = 6.283185307179586476925;
    constexpr int last = sizeof(S) == 4 ? 5 : 10;
    double factor = tau;
    double coefficient[std::size_t{last + 1}];
    for (int k = 0; k <= last; ++k) {
        coefficient[k] = factor;
        factor *= -tau * tau / ((2 * k + 2) * (2 * k + 3));
    }
    T sum = T(S(coefficient[last]));
    for (int k = last - 1; k >= 0; --k)
        sum = fma(sum, y2, T(S(coefficient[k])));
    return sum * y;
}

/// The number of a pair (Box and Muller 1958) from its two words as numbers: sqrt(-2 log((u + 1/2) / 2^32))
/// cos(2 pi (v / 2^32 - turn)), turn = 0 for the first and 1/4 for the second.
template <class T> ESPALIER_FN T normal_of_words(T const& u, T const& v, T const& turn) {
    using S = scalar_of<T>;
    T const share(S(1.0 / 4294967296.0));
    T const radius = sqrt(max(log(fma(u, share, T(S(0.5 / 4294967296.0)))) * T(S(-2)), T(S(0))));
    return radius * cosine_of_turns(fma(v, share, -turn));
}

/// The number of one place: columns 4 b + 2 j and 4 b + 2 j + 1 share the words 2 j and 2 j + 1 of
/// draw(site, origin, b).
template <class S> ESPALIER_FN S normal_at(random_site const& site, std::uint32_t origin, std::uint32_t column) {
    bits8 const bits = draw(site, origin, column / 4);
    std::uint32_t const u = column & 2 ? bits.word[2] : bits.word[0];
    std::uint32_t const v = column & 2 ? bits.word[3] : bits.word[1];
    return normal_of_words(static_cast<S>(u), static_cast<S>(v), column & 1 ? S(0.25) : S(0));
}

/// The same for `columns` columns of `count` rows of the batch from `first` on: out [count][stride], stride a multiple
/// of 16 that is at least `columns`. Host only.
template <class S, class Value = native_pack<S>>
void fill_normals(random_site const& site, rows const& batch, index_t first, index_t count, index_t columns, S* out,
                  index_t stride) {
    constexpr int width = pack_width<Value>;
    alignas(64) S turns[std::size_t{width}];
    for (int i = 0; i < width; ++i)
        turns[i] = i & 1 ? S(0.25) : S(0);
    for (index_t r = 0; r < count; ++r)
        for (index_t c = 0; c < columns; c += width) {
            alignas(64) S u[std::size_t{width}], v[std::size_t{width}];
            for (int i = 0; i < width; i += 4) {
                bits8 const bits = draw(site, batch.origin_of(first + r), static_cast<std::uint32_t>((c + i) / 4));
                u[i] = u[i + 1] = static_cast<S>(bits.word[0]);
                v[i] = v[i + 1] = static_cast<S>(bits.word[1]);
                u[i + 2] = u[i + 3] = static_cast<S>(bits.word[2]);
                v[i + 2] = v[i + 3] = static_cast<S>(bits.word[3]);
            }
            normal_of_words(Value::load(u), Value::load(v), Value::load(turns)).store(out + r * stride + c);
        }
}

} // namespace espalier
