// SPDX-License-Identifier: Apache-2.0
// host only. Vectors and ranges of Thrust as inputs, outputs and data. Not part of espalier.hpp: who includes this
// header has Thrust (target espalier::thrust).
#pragma once

#include <espalier/thrust/version.hpp>

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/computed_numbers.hpp>
#include <espalier/data/number_view.hpp>

#include <thrust/iterator/iterator_traits.h>
#include <thrust/memory.h>
#include <thrust/tuple.h>

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

namespace espalier {

namespace detail {

template <class V>
concept vector_of_thrust = requires(V& v) {
    typename V::allocator_type;
    typename V::iterator;
    thrust::raw_pointer_cast(v.data());
    v.size();
};

template <class Iterator>
concept iterator_of_thrust = requires(Iterator const& i, std::iter_difference_t<Iterator> n) {
    *(i + n);
};

/// Whether the host may read what iterators of Thrust with these traits point at: the memory of CUDA's device it may
/// not, but for memory that both share.
template <class System, class Reference> consteval bool host_reads() {
#if THRUST_DEVICE_SYSTEM == THRUST_DEVICE_SYSTEM_CUDA
    return std::is_same_v<System, thrust::any_system_tag> ||
           !std::is_convertible_v<System, thrust::device_system_tag> || std::is_lvalue_reference_v<Reference>;
#else
    return true;
#endif
}
template <class Iterator>
inline constexpr bool
    host_iterator = host_reads<typename thrust::iterator_system<Iterator>::type, std::iter_reference_t<Iterator>>();

template <class Given> constexpr void check_thrust_vector() {
    static_assert(std::is_lvalue_reference_v<Given>,
                  "espalier: a view of a temporary vector would look at freed memory: give the vector a name first");
}
template <class Given> constexpr void check_host_vector() {
    check_thrust_vector<Given>();
    constexpr bool readable = host_iterator<typename std::remove_cvref_t<Given>::iterator>;
    static_assert(diagnostic::holds<readable, diagnostic::given_type<std::remove_cvref_t<Given>>>,
                  "espalier: batches are gathered on the host, which cannot read a device_vector of the system CUDA: "
                  "copy it into a thrust::host_vector, keep it in a thrust::universal_vector, or hand its batches to "
                  "training::step as espalier::view(...); the next lines name the vector");
}

/// Throws shape_error unless so many numbers fill whole rows.
inline index_t rows_of(char const* what, std::size_t size, index_t columns) {
    auto const count = static_cast<index_t>(size);
    if (columns < 1 || count % columns != 0)
        throw_shape_error(what, ": a vector of ", count, " numbers was given as rows of ", columns,
                          "; needed is a positive number of columns that divides its size");
    return count / columns;
}

template <class Vector> auto data_of(Vector& v) {
    return thrust::raw_pointer_cast(v.data());
}

template <class Value> inline constexpr bool is_tuple = requires {
    thrust::tuple_size<Value>::value;
};

template <class Iterator> constexpr void check_range() {
    static_assert(diagnostic::holds<host_iterator<Iterator>, diagnostic::given_type<Iterator>>,
                  "espalier: batches are gathered on the host, which cannot read through iterators of the system CUDA: "
                  "make the range of iterators of a host_vector or of the raw pointer of a universal_vector; the next "
                  "lines name the iterator");
}

/// Element (r, c) is number r * columns + c of a range.
template <class Iterator> struct flat_range {
    Iterator first;
    index_t columns;

    double operator()(index_t r, index_t c) const {
        using value = std::iter_value_t<Iterator>;
        auto const at = static_cast<std::iter_difference_t<Iterator>>(r * columns + c);
        return static_cast<double>(static_cast<value>(*(first + at)));
    }
};

/// Row r is tuple r of a range.
template <class Iterator> struct tuple_range {
    Iterator first;
    using row = std::iter_value_t<Iterator>;
    static constexpr std::size_t columns = thrust::tuple_size<row>::value;

    void operator()(index_t r, index_t from, index_t count, double* to) const {
        row const values(*(first + static_cast<std::iter_difference_t<Iterator>>(r)));
        [&]<std::size_t... C>(std::index_sequence<C...>) {
            double const all[] = {static_cast<double>(thrust::get<C>(values))...};
            for (index_t i = 0; i < count; ++i)
                to[i] = all[from + i];
        }
        (std::make_index_sequence<columns>{});
    }
};

} // namespace detail

/// The numbers of a host_vector, device_vector or universal_vector as rows of `columns`, without a copy: for `predict`,
/// `training::step` and whatever else takes a `matrix_view`, as input or as output. A device_vector of the system CUDA
/// is for a network on device::cuda, others for one on the CPU. Good until the vector is resized or gone.
///
///     thrust::device_vector<float> x(n * 8), y(n * 3);
///     model.predict(esp::view(x, 8), esp::view(y, 3));
///
/// Throws shape_error when the size is no multiple of `columns`.
template <class Vector>
requires detail::vector_of_thrust<std::remove_cvref_t<Vector>>
auto view(Vector&& vector, index_t columns) {
    detail::check_thrust_vector<Vector&&>();
    auto* const data = detail::data_of(vector);
    return contiguous_view(data, detail::rows_of("view", vector.size(), columns), columns);
}

/// A vector of float or double as the features, targets or weights of a `data_view`, without a copy. The host gathers
/// batches, so a device_vector of the system CUDA does not compile; one of CPP, OMP or TBB lies in the host's memory.
///
///     esp::data_view rows{esp::numbers(x, 8)};
///     rows.targets = esp::numbers(y);
///
/// Throws shape_error when the size is no multiple of `columns`.
template <class Vector>
requires detail::vector_of_thrust<std::remove_cvref_t<Vector>> number_view numbers(Vector&& vector,
                                                                                   index_t columns = 1) {
    detail::check_host_vector<Vector&&>();
    using element = typename std::remove_cvref_t<Vector>::value_type;
    static_assert(
        diagnostic::holds<number_type<element>, diagnostic::given_type<element>>,
        "espalier: numbers takes a vector of float or double; labels, keys and groups are espalier::tags, and "
        "a range of iterators is converted as it is read; the next lines name the type");
    element const* const data = detail::data_of(vector);
    return contiguous_view(data, detail::rows_of("numbers", vector.size(), columns), columns);
}

/// A vector as the labels (std::int32_t), keys (std::uint64_t) or groups (std::int32_t) of a `data_view`, without a
/// copy: one for each row. Memory as for `numbers`; the arrays of `rows` on a GPU are `view(vector, 1).data`.
template <class Vector>
requires detail::vector_of_thrust<std::remove_cvref_t<Vector>>
auto tags(Vector&& vector) {
    detail::check_host_vector<Vector&&>();
    using element = typename std::remove_cvref_t<Vector>::value_type;
    element const* const data = detail::data_of(vector);
    return column_view<element const>{data, static_cast<index_t>(vector.size()), 1};
}

/// `rows` x `columns` numbers that a range of iterators gives, row after row, without a copy of the range: counting,
/// constant, transform, permutation. Features or targets of a `data_view`; computed again whenever a row is read, and
/// read as double. The result must outlive what reads it.
///
///     auto const x = esp::numbers(thrust::make_transform_iterator(counts.begin(), root{}), n, 4);
///     esp::data_view rows{x};
///
/// Throws shape_error for negative extents. A range that only CUDA's device reads does not compile.
template <class Iterator>
requires detail::iterator_of_thrust<Iterator> && std::is_arithmetic_v<std::iter_value_t<Iterator>>
auto numbers(Iterator first, index_t rows, index_t columns) {
    detail::check_range<Iterator>();
    return computed_numbers(rows, columns, detail::flat_range<Iterator>{first, columns});
}

/// The same of a range of tuples, such as a zip_iterator: a row for each, a column for each member.
///
///     auto const x = esp::numbers(thrust::make_zip_iterator(thrust::make_tuple(age.begin(), income.begin())), n);
template <class Iterator>
requires detail::iterator_of_thrust<Iterator> && detail::is_tuple<std::iter_value_t<Iterator>>
auto numbers(Iterator first, index_t rows) {
    detail::check_range<Iterator>();
    using range = detail::tuple_range<Iterator>;
    return computed_numbers(rows, static_cast<index_t>(range::columns), range{first});
}

} // namespace espalier
