// SPDX-License-Identifier: Apache-2.0
// Where the blocks of a layer lie in the arenas. Every extent is a compile-time function of the layer; only the batch
// capacity is known at construction, and it enters linearly: block size = row_bytes * capacity + fixed_bytes.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstdint>

namespace espalier {

/// Batch capacities are multiples of this, so that every block of the arenas starts on a cache line.
inline constexpr index_t row_granule = 32;

/// Tensors start at multiples of this many elements: 64 bytes even in bf16.
inline constexpr index_t tensor_granule = 32;

/// The least multiple of `granule` that is not below n.
constexpr index_t round_up(index_t n, index_t granule) {
    return (n + granule - 1) / granule * granule;
}
/// Elements that a tensor takes in an arena.
constexpr index_t padded(index_t elements) {
    return round_up(elements, tensor_granule);
}

/// A size that grows with the batch capacity, in bytes.
struct extent {
    index_t per_row = 0;
    index_t fixed = 0;

    constexpr index_t bytes(index_t capacity) const { return per_row * capacity + fixed; }
    friend constexpr extent operator+(extent a, extent b) { return {a.per_row + b.per_row, a.fixed + b.fixed}; }
    friend constexpr extent operator*(index_t n, extent a) { return {n * a.per_row, n * a.fixed}; }
    friend constexpr bool operator==(extent const&, extent const&) = default;
};

/// Where further samples of a batch left what the first one left at some place of the tape: `stride` bytes on each.
struct tape_copies {
    int count = 1;
    index_t stride = 0;

    /// The same in copy `copy` of what stands at `first`.
    template <class T> ESPALIER_FN T const* of(T const* first, int copy) const {
        return reinterpret_cast<T const*>(reinterpret_cast<char const*>(first) + copy * stride);
    }
};

/// The smallest extent that contains both.
constexpr extent larger(extent a, extent b) {
    return {a.per_row > b.per_row ? a.per_row : b.per_row, a.fixed > b.fixed ? a.fixed : b.fixed};
}

/// What one layer needs. Also used as an offset: the sum of the footprints before it. Every member is a number of
/// things of which layers that stand side by side need the sum; a new one is a line here and a word in `each`.
struct footprint {
    index_t parameters = 0;      ///< elements, each tensor padded
    index_t state = 0;           ///< elements that training writes outside the optimizer: running means
    index_t mask_words = 0;      ///< 32-bit words of bit masks
    index_t group_sets = 0;      ///< grouped penalties, each with a vector of norms
    extent tape{};               ///< what backward needs from forward
    index_t tensors = 0;         ///< trained tensors
    index_t terms = 0;           ///< values added to the loss
    index_t measures = 0;        ///< numbers about a step that are not part of the loss
    index_t streams = 0;         ///< streams of random bits
    index_t group_proxes = 0;    ///< tensors whose groups are shrunk after the step: a further pass when there are any
    index_t row_terms = 0;       ///< those of the terms that are sums over the rows of a batch
    index_t taps = 0;            ///< named places whose rows can be read
    index_t gates = 0;           ///< gates whose weights can be read
    index_t timed_operands = 0;  ///< tensors whose operand copies depend on the time
    index_t learned_state = 0;   ///< those of the state's elements that an update makes from what it finds in the tape
    index_t scattered_state = 0; ///< the same inside experts or several samples: a batch leaves it in many places
    index_t fixed = 0; ///< elements that are read and never trained, each tensor padded: companions of trained
                       ///< tensors, which policies of the update read, and kernels that stay as they are

private:
    // Written out, for a loop over lanes would be most of what a further layer costs to compile. Before those that call
    // it, or Clang has no body of it when a template of ours asks for a constant sum.
    template <class F> static constexpr footprint each(footprint const& a, footprint const& b, F const& f) {
        return {f(a.parameters, b.parameters),
                f(a.state, b.state),
                f(a.mask_words, b.mask_words),
                f(a.group_sets, b.group_sets),
                f(a.tape, b.tape),
                f(a.tensors, b.tensors),
                f(a.terms, b.terms),
                f(a.measures, b.measures),
                f(a.streams, b.streams),
                f(a.group_proxes, b.group_proxes),
                f(a.row_terms, b.row_terms),
                f(a.taps, b.taps),
                f(a.gates, b.gates),
                f(a.timed_operands, b.timed_operands),
                f(a.learned_state, b.learned_state),
                f(a.scattered_state, b.scattered_state),
                f(a.fixed, b.fixed)};
    }

public:
    friend constexpr footprint operator+(footprint const& a, footprint const& b) {
        return each(a, b, [](auto x, auto y) { return x + y; });
    }
    friend constexpr footprint operator*(index_t n, footprint const& a) {
        return each(a, a, [n](auto x, auto) { return n * x; });
    }
    /// As part of something whose tapes of one batch do not lie at equal distances.
    constexpr footprint scattered() const {
        footprint f = *this;
        f.scattered_state += f.learned_state;
        f.learned_state = 0;
        return f;
    }
    friend constexpr bool operator==(footprint const&, footprint const&) = default;
};

/// Rows of a block that has one for every row of the batch capacity.
inline constexpr extent each_row{1, 0};
/// Rows of a block that has one whatever the capacity.
inline constexpr extent single_row{0, 1};

/// So many rows of `width` elements of type T: a multiple of 64 bytes for every capacity.
template <class T> constexpr extent block_size(index_t width, extent rows = each_row) {
    index_t const bytes = round_up(width * static_cast<index_t>(sizeof(T)), 2);
    return {rows.per_row * bytes, round_up(rows.fixed * bytes, 64)};
}

/// Blocks one behind the other in an arena; `end` is the size of them all. A layer derives its list, whose members are
/// the blocks. Each is said once, and lies behind those before it; one of width 0 is absent:
///
///     template <class T> struct tape_blocks : block_list {
///         constexpr tape_blocks() {} // without it this is an aggregate, which block_list refuses
///         memory_block<double> sums{*this, width, single_row};
///         memory_block<T> values{*this, width};
///     };
struct block_list {
    extent end{};

protected:
    constexpr block_list() = default;
};

/// Where a block of elements of type T lies. `layer_memory` gives the pointer.
template <class T> struct memory_block {
    extent at{};

    constexpr explicit memory_block(extent place) : at(place) {}
    constexpr memory_block(block_list& list, extent size) : at(list.end) { list.end = list.end + size; }
    constexpr memory_block(block_list& list, index_t width, extent rows = each_row)
        : memory_block(list, block_size<T>(width, rows)) {}

    T* in(std::byte* arena, index_t capacity) const { return reinterpret_cast<T*>(arena + at.bytes(capacity)); }
};

/// The type that parameters, gradients and optimizer state have when activations are stored as T: the same, unless T is
/// too narrow to accumulate updates (specialised where such types are known).
template <class T> struct master { using type = T; };
/// What `master` says of T.
template <class T> using master_of = typename master<T>::type;

/// What a tap holds since the last pass: views of the device's memory.
template <class T> struct tap_record {
    matrix_view<T const> values{};
    matrix_view<T> gradient{}; ///< added to that of the rows, once `given`
    double* term = nullptr;    ///< what is added to the loss for it
    bool given = false;
};

/// What a gate gave the rows of the last pass: views of the device's memory.
template <class T> struct gate_record {
    matrix_view<master_of<T> const> weights{}; ///< rows x slots, 0 where a slot is empty
    matrix_view<std::int32_t const> experts{}; ///< rows x slots; no data: slot s is expert s
};

/// What the optimizer is told about one tensor: factors of its learning rate and decay.
struct tensor_rates {
    double learning_rate = 1.0;
    double decay = 1.0;
    bool frozen = false;
    int numbers = 0; ///< place of its numbers among `optimizer_numbers`

    friend constexpr bool operator==(tensor_rates const&, tensor_rates const&) = default;
};

/// The blocks of one layer. Offsets were added on the way down; a null arena is absent.
template <class T> struct layer_memory {
    using wide = master_of<T>;

    wide* parameters = nullptr;
    T* operands = nullptr;           ///< what products read where it differs from the parameters
    wide* gradients = nullptr;       ///< of the task
    wide const* reference = nullptr; ///< gradients of a second stream
    wide* moments = nullptr;         ///< optimizer state, `moment_stride` elements from one to the next
    index_t moment_stride = 0;
    wide* state = nullptr;
    wide const* fixed = nullptr; ///< the companions of each tensor that has any, behind each other; fixed kernels
    std::uint32_t* masks = nullptr;
    index_t const* group_offset = nullptr; ///< of each grouped penalty, into `norms` and `next_norms`
    bool const* group_first = nullptr;     ///< of each grouped penalty: no other one before it shares its groups
    wide* norms = nullptr;                 ///< squared norms of the groups before this update; of nested ones, further
                                           ///< numbers made of them
    wide* next_norms = nullptr;            ///< accumulated by this update for the next one
    std::byte* tape = nullptr;
    std::byte* work = nullptr;
    double* terms = nullptr;
    double* measures = nullptr;
    tap_record<T>* taps = nullptr;       ///< in the host's memory
    gate_record<T>* gates = nullptr;     ///< in the host's memory
    tensor_rates const* rates = nullptr; ///< of the tensors in the order of declaration; null: no tensor has any
    std::uint32_t stream = 0;
    index_t capacity = 0;

    /// The memory of a child that starts `at` after this one's beginning; its work space starts at `child_work`.
    constexpr layer_memory child(footprint const& at, extent child_work) const {
        layer_memory m = *this;
        m.parameters = parameters ? parameters + at.parameters : nullptr;
        m.operands = operands ? operands + at.parameters : nullptr;
        m.gradients = gradients ? gradients + at.parameters : nullptr;
        m.reference = reference ? reference + at.parameters : nullptr;
        m.moments = moments ? moments + at.parameters : nullptr;
        m.state = state ? state + at.state : nullptr;
        m.fixed = fixed ? fixed + at.fixed : nullptr;
        m.masks = masks ? masks + at.mask_words : nullptr;
        m.group_offset = group_offset ? group_offset + at.group_sets : nullptr;
        m.group_first = group_first ? group_first + at.group_sets : nullptr;
        m.tape = tape ? tape + at.tape.bytes(capacity) : nullptr;
        m.work = work ? work + child_work.bytes(capacity) : nullptr;
        m.terms = terms ? terms + at.terms : nullptr;
        m.measures = measures ? measures + at.measures : nullptr;
        m.taps = taps ? taps + at.taps : nullptr;
        m.gates = gates ? gates + at.gates : nullptr;
        m.rates = rates ? rates + at.tensors : nullptr;
        m.stream = stream + static_cast<std::uint32_t>(at.streams);
        return m;
    }

    /// Whether this layer's first n tensors are frozen, all of them: then it is no part of the training.
    constexpr bool frozen(int n) const {
        for (int i = 0; i < n; ++i)
            if (!rates || !rates[i].frozen) return false;
        return n > 0;
    }

    template <class U> U* tape_block(memory_block<U> const& its) const { return its.in(tape, capacity); }
    template <class U> U* work_block(memory_block<U> const& its) const { return its.in(work, capacity); }
};

} // namespace espalier
