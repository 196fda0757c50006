// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/checkpoint.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/checkpoint.hpp>

#include <espalier/core/error.hpp>
#include <espalier/core/text.hpp>
#include <espalier/io/printable.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <span>
#include <system_error>

namespace espalier {

namespace detail {

inline std::vector<index_t> saved_shape(tensor_info const& t) {
    return t.vector ? std::vector<index_t>{t.columns} : std::vector<index_t>{t.rows, t.columns};
}

/// The name of an optimizer's moment of a tensor.
inline std::string moment_name(int moment, tensor_info const& t) {
    return "optimizer." + std::to_string(moment) + "." + t.name;
}

inline std::byte* place_of(saved_network const& net, std::byte* arena, index_t offset) {
    return arena + static_cast<std::size_t>(offset) * size_of(net.type);
}
inline std::byte* place_of(saved_network const& net, tensor_info const& t) {
    return place_of(net, t.trained ? net.weights : net.state, t.offset);
}
inline tensor_record numbers_record(std::string name, saved_network const& net, std::vector<index_t> shape,
                                    std::byte const* at, index_t count) {
    return {std::move(name), net.type, std::move(shape), {at, static_cast<std::size_t>(count) * size_of(net.type)}};
}
inline index_t mask_words(tensor_info const& t) {
    return (t.size() + 31) / 32;
}

ESPALIER_LIBRARY void add_records(std::vector<tensor_record>& out, saved_network const& net,
                                  std::string const& prefix) {
    for (std::size_t i = 0; i < net.tensors->size(); ++i) {
        tensor_info const& t = (*net.tensors)[i];
        if (t.fixed && !(*net.given)[i]) continue; // its numbers mean nothing
        out.push_back(numbers_record(prefix + t.name, net, saved_shape(t), place_of(net, t), t.size()));
    }
    for (tensor_info const& t : *net.tensors)
        if (t.mask_offset >= 0)
            out.push_back(make_record(prefix + "mask." + t.name, {mask_words(t)},
                                      array_view<std::uint32_t const>{net.masks + t.mask_offset, mask_words(t)}));
}

ESPALIER_LIBRARY void load_plan::add(safetensors_file const& file, std::string const& name,
                                     std::vector<index_t> const& shape, void* target, dtype type) {
    tensor_record const* const record = file.find_shared(name);
    if (!record) {
        auto const stored = file.metadata().find(name);
        throw file_error(file.path() + ": there is no tensor '" + name + "'" +
                         (stored != file.metadata().end()
                              ? ", nor one named '" + printable(stored->second) + "', which the metadata have for it"
                              : ""));
    }
    try {
        if (type != dtype::f32 && type != dtype::f64) {
            record->need(type, shape);
        } else if (record->shape != shape) {
            throw_data_error("tensor '", record->name, "' has shape ", shape_text(record->shape),
                             "; the network needs ", shape_text(shape));
        } else {
            record->need_numbers();
        }
    } catch (data_error const& problem) {
        // Another tensor's name is the file's, which may hold anything.
        throw file_error(file.path() + ": " +
                         (record->name == name ? problem.what() : "for '" + name + "': " + printable(problem.what())));
    }
    items.push_back({record, target, type});
}

/// The line of the layer that the tensor belongs to, among lines "path words": those with the longest path count.
inline std::string_view line_of_tensor(std::string_view lines, std::string_view tensor) {
    std::string_view found;
    std::size_t length = 0;
    while (!lines.empty()) {
        std::string_view const line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
        std::string_view const path = line.substr(0, line.find(' '));
        if (path.size() < length || !tensor.starts_with(path) || tensor.substr(path.size()).find('.') != 0) continue;
        found = line;
        length = path.size();
    }
    return found;
}

/// What the metadata of a checkpoint say of the network's layers: a line each, its path first.
inline std::string layer_lines(saved_network const& net) {
    std::string lines;
    for (layer_info const& layer : *net.layers)
        lines += layer.path + ' ' + layer.text() + '\n';
    return lines;
}

/// Which layer the file had for a tensor that does not fit, and which one this network has.
inline std::string layers_of_tensor(safetensors_file const& file, saved_network const& net, std::string_view tensor) {
    auto const stored = file.metadata().find("layers");
    if (stored == file.metadata().end()) return {};
    std::string const own = layer_lines(net);
    std::string_view const theirs = line_of_tensor(stored->second, tensor), ours = line_of_tensor(own, tensor);
    if (theirs == ours || ours.empty()) return {};
    return "; in this network it belongs to layer " + std::string(ours) +
           (theirs.empty() ? ", which the file's network does not have"
                           : "; the file's network has " + printable(theirs));
}

ESPALIER_LIBRARY void load_plan::add(safetensors_file const& file, saved_network const& net, std::string const& prefix,
                                     needed which) {
    given = net.given;
    now_given = *given;
    for (std::size_t i = 0; i < net.tensors->size(); ++i) {
        tensor_info const& t = (*net.tensors)[i];
        bool const frozen = t.fixed && t.companion.empty();
        if (which == needed::all && !now_given.empty()) now_given[i] = false;
        if ((which == needed::all ? t.optional : !frozen) && !file.find_shared(prefix + t.name)) continue;
        if (!now_given.empty()) now_given[i] = true;
        try {
            add(file, prefix + t.name, saved_shape(t), place_of(net, t), net.type);
        } catch (file_error const& problem) {
            throw file_error(problem.what() + layers_of_tensor(file, net, t.name));
        }
    }
    for (tensor_info const& t : *net.tensors)
        if (std::string const name = prefix + "mask." + t.name; t.mask_offset >= 0 && file.find(name))
            add(file, name, {mask_words(t)}, net.masks + t.mask_offset);
}

ESPALIER_LIBRARY void load_plan::run() const {
    if (given) *given = now_given;
    for (item const& i : items) {
        if (i.type == dtype::f32) {
            auto const v = i.record->converted<float>();
            std::copy(v.begin(), v.end(), static_cast<float*>(i.target));
        } else if (i.type == dtype::f64) {
            auto const v = i.record->converted<double>();
            std::copy(v.begin(), v.end(), static_cast<double*>(i.target));
        } else if (!i.record->data.empty()) {
            std::memcpy(i.target, i.record->data.data(), i.record->data.size());
        }
    }
}

ESPALIER_LIBRARY void read_base(saved_network& net, file_path const& path) {
    auto const file = read_safetensors(path);
    load_plan plan;
    plan.add(file, net, {}, load_plan::needed::frozen);
    plan.run();
}

/// The number that `text`, of the metadata's `key`, is. Throws file_error when it is none.
template <class Number> Number number_of(safetensors_file const& file, std::string const& key, std::string_view text) {
    Number value{};
    auto const [at, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem == std::errc() && at == text.data() + text.size()) return value;
    throw file_error(file.path() + ": metadata '" + key + "' is \"" + std::string(text) + "\", a number is needed");
}
template <class Number> Number number_or(safetensors_file const& file, std::string const& key, Number otherwise) {
    auto const found = file.metadata().find(key);
    return found == file.metadata().end() ? otherwise : number_of<Number>(file, key, found->second);
}

ESPALIER_LIBRARY std::uint64_t metadata_count(safetensors_file const& file, std::string const& key,
                                              std::uint64_t otherwise) {
    return number_or(file, key, otherwise);
}
ESPALIER_LIBRARY double metadata_number(safetensors_file const& file, std::string const& key, double otherwise) {
    return number_or(file, key, otherwise);
}

inline constexpr std::string_view value_prefix = "value.";

inline void add_time(std::map<std::string, std::string>& metadata, clock const& now) {
    metadata["step"] = std::to_string(now.step);
    metadata["epoch"] = std::to_string(now.epoch);
    metadata["epoch_begin"] = std::to_string(now.epoch_begin);
    metadata["phase"] = std::to_string(now.phase);
    metadata["steps_per_epoch"] = std::to_string(now.steps_per_epoch);
    for (named_value const& v : now.values) {
        char text[32];
        char* const end = std::to_chars(text, text + sizeof text, v.value).ptr;
        metadata[std::string(value_prefix) + v.name.str()] = std::string(text, end);
    }
}

ESPALIER_LIBRARY kept_time time_in(safetensors_file const& file) {
    auto const format = file.metadata().find("format");
    if (format == file.metadata().end() || format->second != "espalier") return {};
    clock now;
    now.step = now.updates = metadata_count(file, "step", 0);
    now.epoch = metadata_count(file, "epoch", 0);
    now.epoch_begin = metadata_count(file, "epoch_begin", 0);
    now.phase = metadata_count(file, "phase", 0);
    now.steps_per_epoch = metadata_count(file, "steps_per_epoch", 0);
    kept_time time(now);
    for (auto const& [key, text] : file.metadata()) {
        if (!key.starts_with(value_prefix)) continue;
        std::string_view const name = std::string_view(key).substr(value_prefix.size());
        if (name.size() <= 16) time.set(name_from(name.data(), name.size()), number_of<double>(file, key, text));
    }
    return time;
}

/// What the metadata of every file of a network say, beside what the program adds.
inline std::map<std::string, std::string> metadata_of(saved_network const& net,
                                                      std::map<std::string, std::string> const& extra) {
    std::map<std::string, std::string> metadata = extra;
    metadata["format"] = "espalier";
    metadata["layers"] = layer_lines(net);
    add_time(metadata, net.time.now());
    return metadata;
}

ESPALIER_LIBRARY void write_network(saved_network const& net, file_path const& path,
                                    std::map<std::string, std::string> const& extra) {
    std::vector<tensor_record> records;
    add_records(records, net);
    write_safetensors(path, records, metadata_of(net, extra));
}

ESPALIER_LIBRARY void read_network(saved_network& net, file_path const& path) {
    auto const file = read_safetensors(path);
    load_plan plan;
    plan.add(file, net);
    net.time = time_in(file);
    plan.run();
}

// "missed owed sparsity" for a tensor that has anything to remember. In the metadata and not a tensor: not everybody
// who reads the weights can read a tensor of doubles.
inline constexpr std::string_view progress_prefix = "progress.";

inline void add_progress(std::map<std::string, std::string>& metadata, saved_training const& training) {
    std::size_t i = 0;
    for (tensor_info const& t : *training.network.tensors) {
        if (!t.trained) continue;
        double const* const numbers = training.tensors->data() + i++ * 3;
        if (numbers[0] == 0.0 && numbers[1] == 0.0 && numbers[2] < 0.0) continue;
        std::string& text = metadata[std::string(progress_prefix) + t.name];
        for (int k = 0; k < 3; ++k) {
            char number[32];
            if (k != 0) text += ' ';
            text.append(number, std::to_chars(number, number + 32, numbers[k]).ptr);
        }
    }
}

/// Throws file_error when a text is not three numbers.
inline std::vector<double> progress_in(safetensors_file const& file, saved_training const& training) {
    std::vector<double> all;
    for (tensor_info const& t : *training.network.tensors) {
        if (!t.trained) continue;
        double numbers[3] = {0.0, 0.0, -1.0};
        std::string const key = std::string(progress_prefix) + t.name;
        if (auto const found = file.metadata().find(key); found != file.metadata().end()) {
            std::string_view text = found->second;
            for (int k = 0; k < 3; ++k) {
                std::size_t const end = k < 2 ? text.find(' ') : text.size();
                numbers[k] = number_of<double>(file, key, text.substr(0, end));
                text.remove_prefix(end < text.size() ? end + 1 : text.size());
            }
        }
        all.insert(all.end(), numbers, numbers + 3);
    }
    return all;
}

/// Calls f(number, tensor, values) for the optimizer's moments, all first ones before the second ones.
template <class F> void each_moment(saved_training const& training, F const& f) {
    auto const most = std::max_element(training.moment_counts.begin(), training.moment_counts.end());
    for (int m = 0; most != training.moment_counts.end() && m < *most; ++m)
        for (std::size_t i = 0; i < training.moment_counts.size(); ++i)
            if (tensor_info const& t = (*training.network.tensors)[i]; m < training.moment_counts[i])
                f(m, t, place_of(training.network, training.moments, m * training.moment_stride + t.offset));
}

ESPALIER_LIBRARY void write_training(saved_training const& training, file_path const& path,
                                     std::map<std::string, std::string> const& extra,
                                     std::vector<follower> const& followers) {
    saved_network const& net = training.network;
    std::vector<tensor_record> records;
    add_records(records, net);
    each_moment(training, [&](int m, tensor_info const& t, std::byte* values) {
        records.push_back(numbers_record(moment_name(m, t), net, saved_shape(t), values, t.size()));
    });
    if (training.memory_size > 0)
        records.push_back(
            numbers_record("loss.state", net, {training.memory_size}, training.memory, training.memory_size));
    for (follower const& f : followers)
        f.write(records);
    std::map<std::string, std::string> metadata = metadata_of(net, extra);
    metadata["updates"] = std::to_string(training.progress.updates);
    metadata["first_step"] = std::to_string(training.progress.first_step);
    metadata["first_epoch"] = std::to_string(training.progress.first_epoch);
    metadata["seed"] = std::to_string(training.seed);
    add_progress(metadata, training);
    write_safetensors(path, records, metadata);
}

/// How many numbers the optimizer of the training in a file kept for each weight of a trained tensor.
inline int moments_in(safetensors_file const& file, tensor_info const& t) {
    int count = 0;
    while (file.find(moment_name(count, t)))
        ++count;
    return count;
}

ESPALIER_LIBRARY std::map<std::string, std::string> read_training(saved_training& training, file_path const& path,
                                                                  std::vector<follower> const& followers) {
    saved_network& net = training.network;
    auto const file = read_safetensors(path);
    if (!file.metadata().contains("seed"))
        throw file_error(file.path() + ": no 'seed' in the metadata; this is not a training checkpoint");
    load_plan plan;
    plan.add(file, net);
    for (std::size_t i = 0; i < net.tensors->size(); ++i) {
        tensor_info const& t = (*net.tensors)[i];
        if (int const kept = moments_in(file, t); t.trained && kept != training.moment_counts[i])
            throw file_error(file.path() + ": the optimizer of the training kept " + std::to_string(kept) +
                             " numbers for each weight of '" + t.name + "', this one keeps " +
                             std::to_string(training.moment_counts[i]) + "; it would not go on as it was");
    }
    each_moment(training, [&](int m, tensor_info const& t, std::byte* values) {
        plan.add(file, moment_name(m, t), saved_shape(t), values, net.type);
    });
    if (training.memory_size > 0) plan.add(file, "loss.state", {training.memory_size}, training.memory, net.type);
    kept_time time = time_in(file);
    training_progress progress;
    progress.updates = metadata_count(file, "updates", time.now().step);
    progress.first_step = metadata_count(file, "first_step", 0);
    progress.first_epoch = metadata_count(file, "first_epoch", 0);
    std::uint64_t const saved_seed = metadata_count(file, "seed", 0);
    std::vector<double> const tensors = progress_in(file, training);
    if (saved_seed != training.seed)
        throw file_error(file.path() + ": the training had seed " + std::to_string(saved_seed) + ", this network has " +
                         std::to_string(training.seed) + "; it would not go on as it was");
    std::vector<std::function<void()>> take_over;
    for (follower const& f : followers)
        take_over.push_back(f.read(file));
    plan.run();
    for (auto const& take : take_over)
        take();
    net.time = std::move(time);
    training.progress = progress;
    *training.tensors = tensors;
    return {file.metadata().begin(), file.metadata().end()};
}

} // namespace detail
} // namespace espalier
