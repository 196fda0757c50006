// SPDX-License-Identifier: Apache-2.0
// host only. An array for every tag of rows, where tags are copied to.
#pragma once

#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/rows.hpp>

#include <tuple>

namespace espalier::detail {

/// An `Array<U>` of the same length for every tag of rows, U being the type of its copies.
template <template <class> class Array, class Tags = row_tags> class tag_arrays;
template <template <class> class Array, class... Tags> class tag_arrays<Array, type_list<Tags...>> {
public:
    tag_arrays() = default;
    template <class Size> explicit tag_arrays(Size size) : arrays_(Array<typename Tags::value>(size)...) {}

    /// Gives `batch` for every tag that it has what `move(its array, ours)` returns.
    template <class Move> void map(rows& batch, Move const& move) {
        for_each_tag([&](auto tag, auto place) {
            auto& array = batch.*tag.array;
            if (array) array = move(array, std::get<place>(arrays_));
        });
    }

private:
    std::tuple<Array<typename Tags::value>...> arrays_;
};

} // namespace espalier::detail
