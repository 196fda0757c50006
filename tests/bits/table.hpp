// SPDX-License-Identifier: Apache-2.0
// Hashes of what trainings leave, as a table: a line a stack.
#pragma once

#include <espalier/core/view.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bits {

/// FNV-1a of 64 bits (Fowler, Noll and Vo) over bytes.
class hash {
public:
    void bytes(void const* data, std::size_t count);
    void text(std::string_view s) { bytes(s.data(), s.size()); }
    template <class T> void number(T x) { bytes(&x, sizeof x); }
    /// All elements of a vector or a buffer.
    template <class Values> void numbers(Values const& values) {
        bytes(values.data(), static_cast<std::size_t>(values.size()) * sizeof *values.data());
    }
    std::uint64_t value() const { return value_; }

private:
    std::uint64_t value_ = 0xcbf29ce484222325u;
};

inline constexpr std::array<std::string_view, 6> columns{"outputs", "gradients",  "terms",
                                                         "weights", "checkpoint", "description"};
/// A hash for each of the columns; 0 where there is nothing to hash.
struct line {
    hash outputs, gradients, terms, weights, checkpoint, description;
    std::array<std::uint64_t, columns.size()> values() const {
        return {outputs.value(), gradients.value(),  terms.value(),
                weights.value(), checkpoint.value(), description.value()};
    }
};

class table {
public:
    using hashes = std::array<std::uint64_t, columns.size()>;

    /// A stack's line: what `train(threads)` finds for 1 and up to so many threads, which must be equal. What it throws
    /// is told, and the table goes on with the next one.
    void add(std::string const& name, std::function<line(int)> const& train, int most_threads = 2);

    /// Whether every stack was trained, and with the same bits for every number of threads.
    bool complete() const { return complete_; }
    std::string text() const;
    /// Compares with what `text` gave earlier; prints every difference and returns whether there was none.
    bool compare(std::string const& earlier) const;

private:
    std::vector<std::pair<std::string, hashes>> lines_;
    bool complete_ = true;
};

/// Where a checkpoint is written to be read as bytes.
std::string const& checkpoint_path();
std::string content_of(std::string const& path);

// The parts of the program, a file each.
void train_layers(table& out);
void train_combinators(table& out);
void train_penalties_and_transforms(table& out);
void train_weights(table& out);
void train_losses(table& out);
void train_trainers(table& out);
void train_gates(table& out);
void train_searches(table& out);
void train_dispatches(table& out);
void train_several_gates(table& out);
void train_bodies(table& out);

} // namespace bits
