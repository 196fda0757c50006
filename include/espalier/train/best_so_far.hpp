// SPDX-License-Identifier: Apache-2.0
// host only. The best parameters that a loop of one's own has seen: early stopping, for programs that do not call
// `fit`.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/kept_time.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/io/safetensors.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

/// What `best_so_far` knows beside the parameters.
struct best_record {
    double value = std::numeric_limits<double>::infinity();
    std::uint64_t worse_since = 0;
    kept_time time{}; ///< of the best parameters

    /// Integers that hold every bit of it, for a tensor of any file.
    std::vector<std::uint64_t> words() const;
    /// Throws file_error when the file has no such tensor, or one that `words` does not make.
    static best_record in(safetensors_file const& file, std::string const& name);
};

} // namespace detail

/// A copy of the parameters of a network at the time when some number, the loss on validation rows say, was least.
///
///     best_so_far best{model};
///     for (...) {                                      // a loop of one's own over epochs
///         ...
///         best.offer(model, evaluate(model, loss, validation).loss);
///         if (best.worse_since() == patience) break;
///         save_training(run, "last.safetensors", {}, {best.follow()});
///     }
///     best.restore(model);
///
/// `fit` keeps its own: `patience`, `judge` and best.safetensors. Memory: one more set of parameters, on the host.
template <class Network> class best_so_far {
public:
    static_assert(detail::check_network<Network>());
    static_assert(Network::device_type::host_memory,
                  "espalier: best_so_far keeps parameters in host memory; on a GPU call `save` after an epoch that was "
                  "better, and `load` at the end");

    /// Starts with the network's parameters, which anything that is offered replaces.
    explicit best_so_far(Network const& net) : values_(net.values()) {}

    /// Keeps the network's parameters and its time when `value` is less than all that were offered before; says whether
    /// it was. NaN never is.
    bool offer(Network const& net, double value) {
        if (!(value < record_.value)) {
            ++record_.worse_since;
            return false;
        }
        values_ = net.values();
        record_ = {value, 0, kept_time(net.time())};
        return true;
    }

    /// The least value that was offered, infinity before.
    double value() const { return record_.value; }
    /// How many offers in a row, up to the last one, were no better.
    std::uint64_t worse_since() const { return record_.worse_since; }

    /// Gives a network these parameters, and the time that they had.
    void restore(Network& net) const {
        net.values() = values_;
        net.refresh(); // a file has weights and masks, not what is derived from them
    }

    /// What makes this a part of the checkpoints of a training: tensors of the network's names behind "best.", and
    /// "best.record" with the value, the number of worse offers and the time. A training that goes on has the best
    /// parameters of the unbroken one. This object must outlive what is returned.
    follower follow(std::string const& name = "best") {
        auto const prefix = name + ".";
        return {[](clock const&) {},
                [this, prefix](std::vector<tensor_record>& records) {
                    detail::host_parameters<Network> host(values_);
                    detail::add_records(records, host.saved(), prefix);
                    words_ = record_.words();
                    auto const size = static_cast<index_t>(words_.size());
                    records.push_back(
                        make_record(prefix + "record", {size}, array_view<std::uint64_t const>{words_.data(), size}));
                },
                [this, prefix](safetensors_file const& file) -> std::function<void()> {
                    detail::host_parameters<Network> host(values_);
                    detail::load_plan plan;
                    plan.add(file, host.saved(), prefix);
                    return [this, plan, record = detail::best_record::in(file, prefix + "record")] {
                        plan.run();
                        record_ = record;
                        values_.time() = record.time;
                    };
                }};
    }

private:
    typename Network::parameters_type values_;
    detail::best_record record_{};
    std::vector<std::uint64_t> words_; // a record of a file looks at them
};

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/train/detail/best_so_far.hpp>
#endif
