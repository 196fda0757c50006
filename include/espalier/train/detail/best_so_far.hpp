// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of train/best_so_far.hpp; see core/library.hpp.
#pragma once

#include <espalier/train/best_so_far.hpp>

#include <bit>
#include <cstddef>

namespace espalier::detail {

// Of a record in front of its run-time values, and of one of those.
inline constexpr std::size_t best_words = 7, value_words = 3;

ESPALIER_LIBRARY std::vector<std::uint64_t> best_record::words() const {
    clock const& now = time.now();
    std::vector<std::uint64_t> all{std::bit_cast<std::uint64_t>(value),
                                   worse_since,
                                   now.step,
                                   now.epoch,
                                   now.epoch_begin,
                                   now.steps_per_epoch,
                                   now.phase};
    for (named_value const& v : now.values)
        all.insert(all.end(), {v.name.head, v.name.tail, std::bit_cast<std::uint64_t>(v.value)});
    return all;
}

ESPALIER_LIBRARY best_record best_record::in(safetensors_file const& file, std::string const& name) {
    tensor_record const& stored = file.at(name);
    auto const count = static_cast<std::size_t>(stored.count());
    if (stored.type != dtype::u64 || count < best_words || (count - best_words) % value_words != 0)
        throw file_error(file.path() + ": tensor '" + name + "' is none that best_so_far has written");
    std::vector<std::uint64_t> const all = stored.values<std::uint64_t>();
    best_record record;
    record.value = std::bit_cast<double>(all[0]);
    record.worse_since = all[1];
    clock now;
    now.step = now.updates = all[2];
    now.epoch = all[3];
    now.epoch_begin = all[4];
    now.steps_per_epoch = all[5];
    now.phase = all[6];
    record.time.set(now);
    for (std::size_t i = best_words; i < count; i += value_words)
        record.time.set(short_name{all[i], all[i + 1]}, std::bit_cast<double>(all[i + 2]));
    return record;
}

} // namespace espalier::detail
