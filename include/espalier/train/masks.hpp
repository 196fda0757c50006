// SPDX-License-Identifier: Apache-2.0
// host only. When a training selects masks anew, and which: a decision over the table of a network's tensors.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/prune/plan.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace espalier::detail {

/// The masks of a network's tensors, whose weights are of type W. What was selected when is remembered for each of
/// them; memory is taken when it is made, none in a step.
template <class W> class mask_selection {
public:
    explicit mask_selection(layer_report const& report) {
        for (tensor_info const& t : report.tensors) {
            if (!t.trained) continue;
            if (t.masks) {
                bool const mapped = t.masks->template of<W>().effective != nullptr;
                tensors_.push_back(
                    {&t, records_.size(), std::vector<W>(static_cast<std::size_t>(mapped ? t.size() : 0))});
            }
            records_.emplace_back();
        }
        pieces_.reserve(tensors_.size());
    }

    /// Whether any mask is to be selected anew before the step `now`. A frozen tensor waits until it moves again.
    bool ask(clock const& now, tensor_rates const* rates) {
        bool any = false;
        together_ = false;
        for (auto const& [tensor, number, mapped] : tensors_) {
            records_[number].asked = tensor->masks->due(now);
            if (!records_[number].due() || rates[number].frozen) continue;
            any = true;
            together_ = together_ || tensor->masks->global;
        }
        return any;
    }

    /// Selects those that `ask` found due, from the weights of the whole network. Throws data_error where a schedule
    /// leaves [0, 1], or where tensors that are selected together do not agree.
    void select(clock const& now, tensor_rates const* rates, W const* weights, std::uint32_t* masks) {
        pieces_.clear();
        prune::plan const* common = nullptr;
        prune::prune_record pool{};
        index_t kept_of_all = 0, count_of_all = 0;
        for (auto& [tensor, number, mapped] : tensors_) {
            prune::plan const& plan = *tensor->masks;
            prune::prune_record& own = records_[number];
            if (rates[number].frozen || !(plan.global ? together_ : own.due())) continue;
            own.wanted = plan.sparsity(now);
            W const* w = weights + tensor->offset;
            std::uint32_t* const mask = masks + tensor->mask_offset;
            index_t const count = tensor->size(), kept = prune::count_kept(mask, count);
            if (auto const effective = plan.template of<W>().effective) {
                effective(now, w, count, mapped.data());
                w = mapped.data();
            }
            if (plan.global) {
                if (common &&
                    (pool.wanted != own.wanted || common->template of<W>().of_all != plan.template of<W>().of_all))
                    throw_data_error("prune: tensors that are selected over the whole network need one criterion and "
                                     "one schedule; two layers give different ones at step ",
                                     now.step);
                common = &plan;
                pool.wanted = own.wanted;
                if (own.falls()) pool.sparsity = 1.0;
                kept_of_all += kept;
                count_of_all += count;
                pieces_.push_back({w, count, mask});
            } else if (!plan.fixed_share || own.falls() || kept >= prune::kept_count(count, own.wanted)) {
                // A selection that leaves out one share only cannot leave out more: then what is pruned stays.
                plan.template of<W>().of_tensor({w, tensor->rows, tensor->columns, tensor->columns},
                                                plan.fixed_share ? own.wanted : own.share(kept, count), mask);
            }
        }
        if (common) common->template of<W>().of_all(pieces_, pool.share(kept_of_all, count_of_all));
    }

    /// What is remembered of trained tensor i, in the order of declaration; of one without such a mask nothing.
    prune::prune_record& record(std::size_t i) { return records_[i]; }
    prune::prune_record const& record(std::size_t i) const { return records_[i]; }

private:
    struct pruned {
        tensor_info const* tensor;
        std::size_t number;    ///< among the trained tensors
        std::vector<W> mapped; ///< the weights as products read them, where that is what is compared
    };
    std::vector<pruned> tensors_;
    std::vector<prune::prune_record> records_;
    std::vector<prune::piece<W>> pieces_; ///< of tensors that are selected together
    bool together_ = false;               ///< the selection over all tensors is due
};

} // namespace espalier::detail
