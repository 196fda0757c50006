// SPDX-License-Identifier: Apache-2.0
// host only. Networks and whole trainings as safetensors files, tensors named by layer path.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/io/safetensors.hpp>
#include <espalier/network/network.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

inline std::vector<index_t> saved_shape(tensor_info const& t) {
    return t.vector ? std::vector<index_t>{t.columns} : std::vector<index_t>{t.rows, t.columns};
}

/// The name of an optimizer's moment of a tensor.
inline std::string moment_name(int moment, tensor_info const& t) {
    return "optimizer." + std::to_string(moment) + "." + t.name;
}

/// An arena as the host sees it: itself, or a copy where the device has memory of its own.
template <class Device, class U> class host_arena {
    using buffer = typename Device::template buffer<U>;

public:
    explicit host_arena(buffer& arena) : arena_(&arena) {
        if constexpr (!Device::host_memory) {
            copy_.resize(static_cast<std::size_t>(arena.size()));
            if (arena.size() > 0) arena.copy_to_host(copy_.data(), arena.size());
        }
    }
    U* data() {
        if constexpr (Device::host_memory)
            return arena_->data();
        else
            return copy_.data();
    }
    index_t size() const { return arena_->size(); }
    /// Makes the device see what was written.
    void write_back() {
        if constexpr (!Device::host_memory)
            if (arena_->size() > 0) arena_->copy_from_host(copy_.data(), arena_->size());
    }

private:
    buffer* arena_;
    std::vector<U> copy_;
};

/// All arenas of a network's parameters.
template <class Network> struct host_parameters {
    using device = typename Network::device_type;
    using wide = typename Network::wide;
    host_arena<device, wide> weights;
    host_arena<device, wide> state;
    host_arena<device, std::uint32_t> masks;

    explicit host_parameters(typename Network::parameters_type& p)
        : weights(p.weights()), state(p.state()), masks(p.masks()) {}
    wide* tensor(tensor_info const& t) { return (t.trained ? weights : state).data() + t.offset; }
    void write_back() {
        weights.write_back();
        state.write_back();
        masks.write_back();
    }
};

/// `prefix` goes before every name.
template <class Network>
void add_records(std::vector<tensor_record>& out, host_parameters<Network>& values, std::string const& prefix = {}) {
    for (tensor_info const& t : Network::tensors())
        out.push_back(make_record(prefix + t.name, saved_shape(t),
                                  array_view<typename Network::wide const>{values.tensor(t), t.size()}));
    for (tensor_info const& t : Network::tensors())
        if (t.mask_offset >= 0) {
            index_t const words = (t.size() + 31) / 32;
            out.push_back(make_record(prefix + "mask." + t.name, {words},
                                      array_view<std::uint32_t const>{values.masks.data() + t.mask_offset, words}));
        }
}

/// What a load will do once everything was found to fit.
struct load_plan {
    struct item {
        tensor_record const* record;
        void* target;
        bool convert_to_float;
        bool convert_to_double;
    };
    std::vector<item> items;

    template <class U>
    void add(safetensors_file const& file, std::string const& name, std::vector<index_t> const& shape, U* target) {
        tensor_record const* const record = file.find(name);
        if (!record) throw file_error(file.path() + ": there is no tensor '" + name + "'");
        if constexpr (std::is_floating_point_v<U>) {
            if (record->shape != shape)
                throw file_error(file.path() + ": tensor '" + name + "' has shape " + shape_text(record->shape) +
                                 "; the network needs " + shape_text(shape));
            bool const floating = record->type == dtype::f64 || record->type == dtype::f32 ||
                                  record->type == dtype::f16 || record->type == dtype::bf16;
            if (!floating)
                throw file_error(file.path() + ": tensor '" + name + "' is " + std::string(name_of(record->type)) +
                                 "; a floating-point tensor is needed");
            items.push_back({record, target, std::is_same_v<U, float>, std::is_same_v<U, double>});
        } else {
            try {
                record->need(dtype_of<U>(), shape);
            } catch (data_error const& problem) {
                throw file_error(file.path() + ": " + problem.what());
            }
            items.push_back({record, target, false, false});
        }
    }

    void run() const {
        for (item const& i : items) {
            if (i.convert_to_float) {
                auto const v = i.record->template converted<float>();
                std::copy(v.begin(), v.end(), static_cast<float*>(i.target));
            } else if (i.convert_to_double) {
                auto const v = i.record->template converted<double>();
                std::copy(v.begin(), v.end(), static_cast<double*>(i.target));
            } else if (!i.record->data.empty()) {
                std::memcpy(i.target, i.record->data.data(), i.record->data.size());
            }
        }
    }
};

template <class Network>
void plan_weights(load_plan& plan, safetensors_file const& file, host_parameters<Network>& values,
                  std::string const& prefix = {}) {
    for (tensor_info const& t : Network::tensors())
        plan.add(file, prefix + t.name, saved_shape(t), values.tensor(t));
    for (tensor_info const& t : Network::tensors())
        if (std::string const name = prefix + "mask." + t.name; t.mask_offset >= 0 && file.find(name))
            plan.add(file, name, {(t.size() + 31) / 32}, values.masks.data() + t.mask_offset);
}

inline std::uint64_t metadata_number(safetensors_file const& file, std::string const& key) {
    auto const found = file.metadata().find(key);
    if (found == file.metadata().end())
        throw file_error(file.path() + ": no '" + key + "' in the metadata; this is not a training checkpoint");
    try {
        std::size_t used = 0;
        std::uint64_t const value = std::stoull(found->second, &used);
        if (used == found->second.size()) return value;
    } catch (std::exception const&) {
    }
    throw file_error(file.path() + ": metadata '" + key + "' is \"" + found->second + "\", a number is needed");
}

} // namespace detail

/// Something that goes along with a training and belongs to its checkpoints, such as an averaging teacher
/// (`ema_teacher::follow`).
struct follower {
    /// Called after every step with the time of the next one.
    std::function<void(clock const&)> after_step;
    /// Adds its tensors to a checkpoint; their names begin with a name of its own.
    std::function<void(std::vector<tensor_record>&)> write;
    /// Finds its tensors in a checkpoint, throws file_error when they are not there or do not fit, and returns a
    /// function that takes them over and cannot fail.
    std::function<std::function<void()>(safetensors_file const&)> read;
};

/// Writes the parameters and running statistics of a network, one tensor each ("1.kernel": in x out, "1.bias": out) in
/// the type they are trained in, and the bit masks of pruned tensors. Atomic: the old file stays until the new one is
/// complete. Throws file_error.
template <class Network> void save(Network const& net, std::filesystem::path const& path) {
    // Only read: the arenas' host side serves loading too.
    detail::host_parameters<Network> values(const_cast<Network&>(net).values());
    std::vector<tensor_record> records;
    detail::add_records<Network>(records, values);
    write_safetensors(path, records, {{"format", "espalier"}});
}

/// Reads what `save`, or any program that writes safetensors with these names, has written. Floating-point types are
/// converted; tensors of other names are ignored. Throws file_error for a file that is damaged or lacks a tensor, or
/// has one of another shape or kind; the network is unchanged then.
template <class Network> void load(Network& net, std::filesystem::path const& path) {
    auto const file = read_safetensors(path);
    detail::host_parameters<Network> values(net.values());
    detail::load_plan plan;
    detail::plan_weights(plan, file, values);
    plan.run();
    values.write_back();
    net.refresh();
}

/// Writes everything that a training needs to go on as if it had not stopped: `save` plus the optimizer's state, the
/// memory of the loss, the clock, and what its followers have to remember. `extra` is kept beside them.
template <class Training>
void save_training(Training& training, std::filesystem::path const& path,
                   std::map<std::string, std::string> const& extra = {}, std::vector<follower> const& followers = {}) {
    using network_type = typename Training::network_type;
    using device = typename network_type::device_type;
    detail::host_parameters<network_type> values(training.net().values());
    detail::host_arena<device, typename network_type::wide> moments(training.moment_values());
    detail::host_arena<device, typename network_type::wide> memory(training.loss_state());
    std::vector<tensor_record> records;
    detail::add_records<network_type>(records, values);
    for (int m = 0; m < Training::moments; ++m)
        for (tensor_info const& t : network_type::tensors())
            if (t.trained)
                records.push_back(
                    make_record(detail::moment_name(m, t), detail::saved_shape(t),
                                array_view<typename network_type::wide const>{
                                    moments.data() + m * network_type::size.parameters + t.offset, t.size()}));
    if (memory.size() > 0)
        records.push_back(make_record("loss.state", {memory.size()},
                                      array_view<typename network_type::wide const>{memory.data(), memory.size()}));
    for (follower const& f : followers)
        f.write(records);
    std::map<std::string, std::string> metadata = extra;
    metadata["format"] = "espalier";
    metadata["step"] = std::to_string(training.time().step);
    metadata["epoch"] = std::to_string(training.time().epoch);
    metadata["phase"] = std::to_string(training.time().phase);
    metadata["seed"] = std::to_string(training.net().random_seed().value);
    write_safetensors(path, records, metadata);
}

/// Goes back to the state that `save_training` wrote; what follows is bitwise equal to an unbroken run. Returns the
/// metadata. Throws file_error as `load` does, with nothing changed.
template <class Training>
std::map<std::string, std::string> load_training(Training& training, std::filesystem::path const& path,
                                                 std::vector<follower> const& followers = {}) {
    using network_type = typename Training::network_type;
    auto const file = read_safetensors(path);
    using device = typename network_type::device_type;
    detail::host_parameters<network_type> values(training.net().values());
    detail::host_arena<device, typename network_type::wide> moments(training.moment_values());
    detail::host_arena<device, typename network_type::wide> memory(training.loss_state());
    detail::load_plan plan;
    detail::plan_weights(plan, file, values);
    for (int m = 0; m < Training::moments; ++m)
        for (tensor_info const& t : network_type::tensors())
            if (t.trained)
                plan.add(file, detail::moment_name(m, t), detail::saved_shape(t),
                         moments.data() + m * network_type::size.parameters + t.offset);
    if (memory.size() > 0) plan.add(file, "loss.state", {memory.size()}, memory.data());
    clock now = training.time();
    now.step = now.updates = detail::metadata_number(file, "step");
    now.epoch = detail::metadata_number(file, "epoch");
    now.phase = detail::metadata_number(file, "phase");
    std::uint64_t const saved_seed = detail::metadata_number(file, "seed");
    if (saved_seed != training.net().random_seed().value)
        throw file_error(file.path() + ": the training had seed " + std::to_string(saved_seed) + ", this network has " +
                         std::to_string(training.net().random_seed().value) + "; it would not go on as it was");
    std::vector<std::function<void()>> take_over;
    for (follower const& f : followers)
        take_over.push_back(f.read(file));
    plan.run();
    values.write_back();
    moments.write_back();
    memory.write_back();
    for (auto const& take : take_over)
        take();
    training.time() = now;
    training.net().refresh(now);
    return {file.metadata().begin(), file.metadata().end()};
}

} // namespace espalier
