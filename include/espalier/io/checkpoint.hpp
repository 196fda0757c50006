// SPDX-License-Identifier: Apache-2.0
// host only. Networks and whole trainings as safetensors files, tensors named by layer path.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/kept_time.hpp>
#include <espalier/core/library.hpp>
#include <espalier/io/safetensors.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace espalier {

namespace detail {

/// A network as a checkpoint sees it: the tables of its tensors and layers and where their numbers lie on the host.
struct saved_network {
    std::vector<tensor_info> const* tensors = nullptr;
    std::vector<layer_info> const* layers = nullptr;
    dtype type = dtype::f32; ///< of weights and state: f32 or f64
    std::byte* weights = nullptr;
    std::byte* state = nullptr;
    std::uint32_t* masks = nullptr;
    kept_time time{};
    std::vector<bool>* given = nullptr; ///< of each tensor, where there are fixed ones
};

/// All arenas of a network's parameters.
template <class Network> struct host_parameters : parameters_on_host<Network> {
    static_assert(check_network<Network>());
    kept_time time;
    std::vector<bool>* given;

    explicit host_parameters(typename Network::parameters_type& p)
        : parameters_on_host<Network>(p), time(p.time()), given(&p.given()) {}
    saved_network saved() {
        return {&Network::tensors(),
                &Network::layers(),
                dtype_of<typename Network::wide>(),
                reinterpret_cast<std::byte*>(this->weights.data()),
                reinterpret_cast<std::byte*>(this->state.data()),
                this->masks.data(),
                time,
                given};
    }
};

/// The number that the metadata of a file give for `key`, or `otherwise`. Throws file_error when it is none.
std::uint64_t metadata_count(safetensors_file const& file, std::string const& key, std::uint64_t otherwise);
double metadata_number(safetensors_file const& file, std::string const& key, double otherwise);

/// The time that a file says its network has reached: that of a new one when it says nothing. Throws file_error.
kept_time time_in(safetensors_file const& file);

/// Records of all tensors and masks, `prefix` before every name.
void add_records(std::vector<tensor_record>& out, saved_network const& net, std::string const& prefix = {});

/// What a load will do once everything was found to fit.
struct load_plan {
    struct item {
        tensor_record const* record;
        void* target;
        dtype type; ///< of the target
    };
    std::vector<item> items;
    std::vector<bool>* given = nullptr; ///< what becomes `now_given`
    std::vector<bool> now_given{};

    /// Throws file_error when the file has no such tensor (nor one that its metadata name in its place), or one of
    /// another shape or kind. Floating-point numbers are converted, others must be of the target's type.
    void add(safetensors_file const& file, std::string const& name, std::vector<index_t> const& shape, void* target,
             dtype type);
    template <class U>
    void add(safetensors_file const& file, std::string const& name, std::vector<index_t> const& shape, U* target) {
        add(file, name, shape, target, dtype_of<U>());
    }
    /// Of the tensors of a network, those that a file may not lack: all, or frozen kernels only.
    enum class needed { all, frozen };
    void add(safetensors_file const& file, saved_network const& net, std::string const& prefix = {},
             needed which = needed::all);
    void run() const;
};

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

namespace detail {

/// A training as a checkpoint sees it.
struct saved_training {
    saved_network network;
    std::byte* moments = nullptr;     ///< numbers of the network's type, `moment_stride` from one moment to the next
    std::vector<int> moment_counts{}; ///< of each tensor
    index_t moment_stride = 0;
    std::byte* memory = nullptr; ///< of the loss
    index_t memory_size = 0;
    std::vector<double>* tensors = nullptr; ///< three numbers for each trained tensor
    training_progress progress{};
    std::uint64_t seed = 0;
};

void write_network(saved_network const& net, file_path const& path, std::map<std::string, std::string> const& extra);
/// Also sets the time.
void read_network(saved_network& net, file_path const& path);
/// Reads what there is, but for frozen kernels, which must be there.
void read_base(saved_network& net, file_path const& path);
void write_training(saved_training const& training, file_path const& path,
                    std::map<std::string, std::string> const& extra, std::vector<follower> const& followers);
/// Also sets the time and the progress.
std::map<std::string, std::string> read_training(saved_training& training, file_path const& path,
                                                 std::vector<follower> const& followers);

template <class Training> struct host_training {
    using network_type = typename Training::network_type;
    using device = typename network_type::device_type;
    using wide = typename network_type::wide;
    host_parameters<network_type> values;
    host_arena<device, wide> moments;
    host_arena<device, wide> memory;
    std::vector<double> tensors;
    std::vector<int> moment_counts{};

    explicit host_training(Training& training)
        : values(training.net().values()), moments(training.moment_values()), memory(training.loss_state()),
          tensors(training.tensor_progress()) {
        for (tensor_info const& t : network_type::tensors())
            moment_counts.push_back(t.trained ? Training::moments_of(t) : 0);
    }
    saved_training saved(Training& training) {
        return {values.saved(),
                reinterpret_cast<std::byte*>(moments.data()),
                moment_counts,
                network_type::size.parameters,
                reinterpret_cast<std::byte*>(memory.data()),
                memory.size(),
                &tensors,
                training.progress(),
                training.net().random_seed().value};
    }
};

} // namespace detail

/// Writes the parameters and running statistics of a network, one tensor each ("1.kernel": in x out, "1.bias": out) in
/// the type they are trained in, the bit masks of pruned tensors, and in the metadata the time that the network has
/// reached ("step", "epoch", "epoch_begin", "steps_per_epoch", "phase", "value.NAME" for a run-time value), what wrote
/// it ("format") and its layers in words ("layers"). `extra` is kept beside them, but for entries of these names.
/// Fixed tensors are saved like the others ("1.kernel.anchor", the kernel under an adapter), once they were set.
/// Atomic: the old file stays until the new one is complete. Throws file_error.
template <class Network>
void save(Network const& net, file_path const& path, std::map<std::string, std::string> const& extra = {}) {
    // Only read: the arenas' host side serves loading too.
    detail::host_parameters<Network> values(const_cast<Network&>(net).values());
    detail::write_network(values.saved(), path, extra);
}

/// Reads what `save`, or any program that writes safetensors with these names, has written. Floating-point types are
/// converted; tensors of other names are ignored, whatever their types; a tensor that was left out because it is tied
/// to another is that one (see `safetensors_file::find_shared`). The network has the time of the file afterwards, so it
/// gives what the saved one gave; a file without one, of another program or an older version, is taken for a network at
/// time 0, and `set_time` says better. A fixed tensor that the file lacks counts as never set. Throws file_error for a
/// file that is damaged or lacks a tensor, or has one of another shape or kind; the network is unchanged then.
template <class Network> void load(Network& net, file_path const& path) {
    detail::host_parameters<Network> values(net.values());
    detail::saved_network saved = values.saved();
    detail::read_network(saved, path);
    values.write_back();
    net.values().time() = saved.time;
    net.refresh();
}

/// Takes what is frozen under adapters from the file of a network of the same stack without them, and everything else
/// that the file has under the name of a tensor of this network. What it lacks, the adapters' factors say, and the time
/// stay. Throws file_error as `load` does, and where a frozen kernel is not in the file; the network is unchanged then.
template <class Network> void load_base(Network& net, file_path const& path) {
    detail::host_parameters<Network> values(net.values());
    detail::saved_network saved = values.saved();
    detail::read_base(saved, path);
    values.write_back();
    net.refresh();
}

/// Writes everything that a training needs to go on as if it had not stopped: `save` plus the optimizer's state, the
/// memory of the loss, how far it has come, the seed of its network (in the metadata, "seed"), and what its followers
/// have to remember. `extra` is kept beside them. Throws file_error.
template <class Training>
void save_training(Training& training, file_path const& path, std::map<std::string, std::string> const& extra = {},
                   std::vector<follower> const& followers = {}) {
    detail::host_training<Training> host(training);
    detail::write_training(host.saved(training), path, extra, followers);
}

/// Goes back to the state that `save_training` wrote; what follows is bitwise equal to an unbroken run. The network
/// must have been made with the seed of the one that was saved. Returns the metadata. Throws file_error as `load` does,
/// and for another seed, an optimizer that keeps another number of moments of a tensor or a file of `save`, with
/// nothing changed.
template <class Training>
std::map<std::string, std::string> load_training(Training& training, file_path const& path,
                                                 std::vector<follower> const& followers = {}) {
    detail::host_training<Training> host(training);
    detail::saved_training saved = host.saved(training);
    std::map<std::string, std::string> metadata = detail::read_training(saved, path, followers);
    host.values.write_back();
    host.moments.write_back();
    host.memory.write_back();
    training.progress() = saved.progress;
    training.set_tensor_progress(host.tensors);
    training.net().values().time() = saved.network.time;
    training.net().refresh();
    return metadata;
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/checkpoint.hpp>
#endif
