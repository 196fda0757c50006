// SPDX-License-Identifier: Apache-2.0
// host only. When a training selects masks anew, and which: a decision over the table of a network's tensors, carried
// out on the host or by the device that has the weights.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/prune/on_device.hpp>
#include <espalier/prune/plan.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace espalier::detail {

/// A tensor with a mask that is selected.
template <class W> struct pruned_tensor {
    tensor_info const* info = nullptr;
    std::size_t number = 0; ///< among the trained tensors

    prune::plan const& plan() const { return *info->masks; }
    prune::selections<W> const& selections() const { return plan().template of<W>(); }
    index_t size() const { return info->size(); }
    W const* in(W const* weights) const { return weights + info->offset; }
    prune::sight<W> in(prune::sight<W> const& all) const {
        return {in(all.weights), all.gradients ? in(all.gradients) : nullptr, all.moments ? in(all.moments) : nullptr};
    }
    std::uint32_t* in(std::uint32_t* masks) const { return masks + info->mask_offset; }
};

/// Selects masks that the host can read, of weights that it can read. Memory is taken when it is made.
template <class W> class host_masks {
public:
    explicit host_masks(std::vector<pruned_tensor<W>> const& tensors) {
        index_t compared = 0;
        for (pruned_tensor<W> const& t : tensors)
            if (t.selections().compared || t.selections().exchange) compared += t.size();
        compared_.resize(static_cast<std::size_t>(compared));
        pieces_.reserve(tensors.size());
    }

    static constexpr bool able() { return true; }

    /// Those of tensors that are selected together, or of one.
    void select(clock const& now, std::vector<pruned_tensor<W>> const& tensors, prune::prune_record const& record,
                prune::sight<W> const& all, std::uint32_t* masks) {
        if (tensors.front().selections().exchange) return exchange(now, tensors.front(), record, all, masks);
        pieces_.clear();
        W* compared = compared_.data();
        index_t kept = 0, count = 0;
        for (pruned_tensor<W> const& t : tensors) {
            prune::piece<W> part{t.in(all.weights), t.size(), t.in(masks)};
            if (auto const write = t.selections().compared) {
                write(now, t.in(all), part.size, compared);
                part.weights = compared;
                compared += part.size;
            }
            kept += prune::count_kept(part.mask, part.size);
            count += part.size;
            pieces_.push_back(part);
        }
        pruned_tensor<W> const& first = tensors.front();
        double const share = record.share(kept, count);
        if (first.plan().global)
            first.selections().of_all(pieces_, share);
        else if (!first.plan().fixed_share)
            first.selections().of_tensor(now, matrix_of(first), share, first.in(masks));
        // A selection that leaves out one share at a time cannot leave out more: then what is pruned stays.
        else if (record.falls() || (record.wanted > 0.0 && kept >= prune::kept_count(count, record.wanted)))
            first.selections().of_tensor(now, matrix_of(first), record.wanted, first.in(masks));
    }

private:
    void exchange(clock const& now, pruned_tensor<W> const& t, prune::prune_record const& record,
                  prune::sight<W> const& all, std::uint32_t* masks) {
        prune::exchanged_weights const counts(now, t.plan(), record, t.size());
        t.selections().exchange(now, t.in(all), t.size(), counts.stay, counts.keep, compared_.data(), t.in(masks));
    }

    matrix_view<W const> matrix_of(pruned_tensor<W> const& t) const {
        return {pieces_.front().weights, t.info->rows, t.info->columns, t.info->columns};
    }

    std::vector<W> compared_; ///< where it is not the weights: those that products read, or keys
    std::vector<prune::piece<W>> pieces_;
};

/// Has a device select masks in its memory: nothing waits and nothing is copied. Memory is taken when it is made.
template <class Device, class W> class device_masks {
public:
    using plans = std::vector<prune::device_plan<Device, W>>;

    device_masks(Device& device, std::vector<pruned_tensor<W>> const& tensors, plans of_stack)
        : device_(device), plans_(std::move(of_stack)), survey_(tensors.empty() ? 0 : 1) {
        index_t most = 0;
        for (pruned_tensor<W> const& t : tensors) {
            most = std::max(most, mask_counters(t.size()));
            able_ = able_ && find(t);
        }
        counters_ = buffer<index_t>(able_ ? most : 0);
    }

    /// Whether there is no tensor whose masks only the host can select.
    bool able() const { return able_; }

    void select(clock const& now, std::vector<pruned_tensor<W>> const& tensors, prune::prune_record const& record,
                prune::sight<W> const& all, std::uint32_t* masks) {
        pruned_tensor<W> const& front = tensors.front();
        prune::device_plan<Device, W> const& plan = *find(front);
        if (front.plan().exchanged) {
            prune::exchanged_weights const counts(now, front.plan(), record, front.size());
            select_largest(now, tensors, {.weights = front.size(), .keep = counts.stay}, 0, all, masks);
            select_largest(now, tensors, {.weights = front.size(), .keep = counts.keep, .revives = true}, 1, all,
                           masks);
            return;
        }
        mask_request request;
        for (pruned_tensor<W> const& t : tensors)
            request.weights += t.size();
        request.keep = prune::kept_count(request.weights, record.wanted);
        request.revives = record.falls();
        if (!front.plan().fixed_share || (request.keep == request.weights && request.revives))
            return select_largest(now, tensors, request, 0, all, masks);
        if (request.keep == request.weights) return; // what is pruned stays
        if (plan.write_groups) {
            start(tensors, request, plan, masks);
            plan.write_groups(device_, now, front.in(all), front.info->rows, front.info->columns, survey_.data(),
                              front.in(masks));
        } else {
            request.by_key = true;
            device_.start_selection(request, plan.largest_key, survey_.data());
            plan.write_below(device_, now, front.in(all), front.size(), counters_.data(), survey_.data(),
                             front.in(masks));
        }
    }

private:
    template <class U> using buffer = typename Device::template buffer<U>;

    void start(std::vector<pruned_tensor<W>> const& tensors, mask_request const& request,
               prune::device_plan<Device, W> const& plan, std::uint32_t* masks) {
        device_.start_selection(request, plan.largest_key, survey_.data());
        for (pruned_tensor<W> const& t : tensors)
            device_.count_kept(static_cast<std::uint32_t const*>(t.in(masks)), t.size(), survey_.data());
    }
    /// By the keys of `stage`: an exchange has two.
    void select_largest(clock const& now, std::vector<pruned_tensor<W>> const& tensors, mask_request const& request,
                        int stage, prune::sight<W> const& all, std::uint32_t* masks) {
        prune::device_plan<Device, W> const& plan = *find(tensors.front());
        start(tensors, request, plan, masks);
        for (int round = 0; round < plan.rounds; ++round) {
            for (pruned_tensor<W> const& t : tensors)
                find(t)->stages[stage].look(device_, now, t.in(all), t.size(), t.in(masks), survey_.data());
            device_.narrow_selection(round == 0, survey_.data());
        }
        for (pruned_tensor<W> const& t : tensors)
            find(t)->stages[stage].write(device_, now, t.in(all), t.size(), counters_.data(), survey_.data(),
                                         t.in(masks));
    }

    prune::device_plan<Device, W> const* find(pruned_tensor<W> const& t) const {
        for (prune::device_plan<Device, W> const& p : plans_)
            if (p.of == &t.plan()) return &p;
        return nullptr;
    }

    Device& device_;
    plans plans_;
    bool able_ = true;
    buffer<mask_survey> survey_;
    buffer<index_t> counters_; ///< of the largest tensor
};

/// Lists the plans that a device can carry out, in the place of an update.
template <class Device, class W> struct list_device_plans : no_step {
    typename device_masks<Device, W>::plans* found;

    template <class Policy, class Map> void add() const {
        if constexpr (prune::selects_on_device<Policy>())
            found->push_back(prune::device_plan_of<Policy, Map, Device, W>());
    }
};

/// When masks of a network's tensors, whose weights are of type W, are selected, and how many weights they are to keep.
/// What was selected when is remembered for each tensor; memory is taken when it is made, none in a step.
template <class W> class mask_selection {
public:
    /// Throws shape_error for a tensor that does not hold the groups of its stages; of kernels that is known while
    /// compiling.
    explicit mask_selection(layer_report const& report) {
        for (tensor_info const& t : report.tensors) {
            if (!t.trained) continue;
            if (t.masks) {
                require_groups(t);
                tensors_.push_back({&t, records_.size()});
            }
            records_.emplace_back();
        }
        selected_.reserve(tensors_.size());
    }

    std::vector<pruned_tensor<W>> const& tensors() const { return tensors_; }

    /// Whether any mask is to be selected anew for the step `now`: before it, and once it has gradients. A frozen
    /// tensor waits until it moves again.
    struct due_masks {
        bool before_gradients = false, behind_gradients = false;
        explicit operator bool() const { return before_gradients || behind_gradients; }
    };
    due_masks ask(clock const& now, tensor_rates const* rates) {
        due_masks any;
        together_ = false;
        for (auto const& t : tensors_) {
            records_[t.number].asked = t.plan().due(now);
            if (!records_[t.number].due() || rates[t.number].frozen) continue;
            (t.plan().sees_gradients ? any.behind_gradients : any.before_gradients) = true;
            together_ = together_ || t.plan().global;
        }
        return any;
    }

    /// Calls select(tensors, record) for each tensor that `ask` found due before a step or once it has gradients, and
    /// for those together that are selected over the network. Throws data_error where a schedule leaves [0, 1], or
    /// where tensors that are selected together do not agree.
    template <class Select>
    void each_due(clock const& now, tensor_rates const* rates, bool behind_gradients, Select const& select) {
        prune::prune_record pool{};
        for (bool const over_all : {false, true}) {
            selected_.clear();
            for (auto const& t : tensors_) {
                prune::prune_record& own = records_[t.number];
                if (t.plan().global != over_all || rates[t.number].frozen || !(over_all ? together_ : own.due()))
                    continue;
                // Of those that are selected together all are looked at: one of the other kind does not agree.
                if (!over_all && t.plan().sees_gradients != behind_gradients) continue;
                own.wanted = t.plan().sparsity(now);
                if (over_all && !selected_.empty() &&
                    (pool.wanted != own.wanted || selected_.front().selections().of_all != t.selections().of_all))
                    throw_data_error("prune: tensors that are selected over the whole network need one criterion and "
                                     "one schedule; two layers give different ones at step ",
                                     now.step);
                selected_.push_back(t);
                if (over_all) {
                    pool.wanted = own.wanted;
                    if (own.falls()) pool.sparsity = 1.0;
                } else {
                    select(selected_, own);
                    selected_.clear();
                }
            }
        }
        if (!selected_.empty() && selected_.front().plan().sees_gradients == behind_gradients) select(selected_, pool);
    }

    /// What is remembered of trained tensor i, in the order of declaration; of one without such a mask nothing.
    prune::prune_record& record(std::size_t i) { return records_[i]; }
    prune::prune_record const& record(std::size_t i) const { return records_[i]; }

private:
    static void require_groups(tensor_info const& t) {
        int const beside = t.masks->group_beside ? t.masks->group_beside(t.rows) : 0;
        if (beside != 0)
            throw_shape_error("prune: tensor ", t.name, " has ", t.rows, " rows, and groups of ", beside,
                              " do not divide them; begin prune::n_m_stages with smaller groups, or prune this tensor "
                              "with prune::n_m");
    }

    std::vector<pruned_tensor<W>> tensors_, selected_;
    std::vector<prune::prune_record> records_;
    bool together_ = false; ///< the selection over all tensors is due
};

} // namespace espalier::detail
