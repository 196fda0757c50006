// SPDX-License-Identifier: Apache-2.0
// host only. Networks and whole trainings as safetensors files, tensors named by layer path.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/io/safetensors.hpp>
#include <espalier/network/network.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

inline std::vector<index_t> saved_shape(tensor_info const& t) {
    return t.vector ? std::vector<index_t>{t.columns} : std::vector<index_t>{t.rows, t.columns};
}

/// Records of one arena-like array for every trained tensor: the tensors themselves, or a moment of the optimizer.
template <class Network, class Wide>
void add_records(std::vector<tensor_record>& out, std::string const& prefix, Wide const* trained, Wide const* state) {
    for (tensor_info const& t : Network::tensors()) {
        Wide const* const arena = t.trained ? trained : state;
        if (arena)
            out.push_back(
                make_record(prefix + t.name, saved_shape(t), array_view<Wide const>{arena + t.offset, t.size()}));
    }
}

template <class Network> void add_mask_records(std::vector<tensor_record>& out, Network const& net) {
    for (tensor_info const& t : Network::tensors())
        if (t.mask_offset >= 0) {
            index_t const words = (t.size() + 31) / 32;
            out.push_back(
                make_record("mask." + t.name, {words},
                            array_view<std::uint32_t const>{net.values().masks().data() + t.mask_offset, words}));
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

template <class Network> void plan_weights(load_plan& plan, safetensors_file const& file, Network& net) {
    for (tensor_info const& t : Network::tensors())
        plan.add(file, t.name, saved_shape(t), net.values().view(t).data);
    for (tensor_info const& t : Network::tensors())
        if (t.mask_offset >= 0 && file.find("mask." + t.name))
            plan.add(file, "mask." + t.name, {(t.size() + 31) / 32}, net.values().masks().data() + t.mask_offset);
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

/// Writes the parameters and running statistics of a network, one tensor each ("1.kernel": in x out, "1.bias": out) in
/// the type they are trained in, and the bit masks of pruned tensors. Atomic: the old file stays until the new one is
/// complete. Throws file_error.
template <class Network> void save(Network const& net, std::filesystem::path const& path) {
    std::vector<tensor_record> records;
    detail::add_records<Network>(records, "", net.values().weights().data(), net.values().state().data());
    detail::add_mask_records(records, net);
    write_safetensors(path, records, {{"format", "espalier"}});
}

/// Reads what `save`, or any program that writes safetensors with these names, has written. Floating-point types are
/// converted; tensors of other names are ignored. Throws file_error for a file that is damaged or lacks a tensor, or
/// has one of another shape or kind; the network is unchanged then.
template <class Network> void load(Network& net, std::filesystem::path const& path) {
    auto const file = read_safetensors(path);
    detail::load_plan plan;
    detail::plan_weights(plan, file, net);
    plan.run();
    net.refresh();
}

/// Writes everything that a training needs to go on as if it had not stopped: `save` plus the optimizer's state, the
/// memory of the loss and the clock. `extra` is kept beside them.
template <class Training>
void save_training(Training& training, std::filesystem::path const& path,
                   std::map<std::string, std::string> const& extra = {}) {
    using network_type = typename Training::network_type;
    std::vector<tensor_record> records;
    auto const& values = training.net().values();
    detail::add_records<network_type>(records, "", values.weights().data(), values.state().data());
    detail::add_mask_records(records, training.net());
    for (int m = 0; m < Training::moments; ++m)
        detail::add_records<network_type, typename network_type::wide>(
            records, "optimizer." + std::to_string(m) + ".",
            training.moment_values().data() + m * network_type::size.parameters, nullptr);
    if (training.loss_state().size() > 0)
        records.push_back(make_record("loss.state", {training.loss_state().size()},
                                      array_view<typename network_type::scalar const>{training.loss_state().data(),
                                                                                      training.loss_state().size()}));
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
std::map<std::string, std::string> load_training(Training& training, std::filesystem::path const& path) {
    using network_type = typename Training::network_type;
    auto const file = read_safetensors(path);
    detail::load_plan plan;
    detail::plan_weights(plan, file, training.net());
    for (int m = 0; m < Training::moments; ++m)
        for (tensor_info const& t : network_type::tensors())
            if (t.trained)
                plan.add(file, "optimizer." + std::to_string(m) + "." + t.name, detail::saved_shape(t),
                         training.moment_values().data() + m * network_type::size.parameters + t.offset);
    if (training.loss_state().size() > 0)
        plan.add(file, "loss.state", {training.loss_state().size()}, training.loss_state().data());
    clock now = training.time();
    now.step = detail::metadata_number(file, "step");
    now.epoch = detail::metadata_number(file, "epoch");
    now.phase = detail::metadata_number(file, "phase");
    std::uint64_t const saved_seed = detail::metadata_number(file, "seed");
    if (saved_seed != training.net().random_seed().value)
        throw file_error(file.path() + ": the training had seed " + std::to_string(saved_seed) + ", this network has " +
                         std::to_string(training.net().random_seed().value) + "; it would not go on as it was");
    plan.run();
    training.time() = now;
    training.net().refresh(now);
    return {file.metadata().begin(), file.metadata().end()};
}

} // namespace espalier
