// SPDX-License-Identifier: Apache-2.0
// host only. Trains every stack of a set on the same data and lays the results side by side.
#pragma once

#include <espalier/device/cpu/cpu.hpp>
#include <espalier/network/network.hpp>
#include <espalier/space/comparison.hpp>
#include <espalier/space/space.hpp>
#include <espalier/train/fit.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace espalier {

namespace detail {

template <class Stack, class Device, class T, class Loss, class Optimizer>
std::vector<compared_run> compare_one(Loss const& loss, Optimizer const& optimizer, data_view const& data,
                                      compare_options const& options) {
    using clock_type = std::chrono::steady_clock;
    std::vector<compared_run> runs;
    for (seed const s : options.seeds) {
        network<Stack, Device, T> net(s, options.fit.batch);
        compared_run& run = runs.emplace_back();
        fit_options of_run = options.fit;
        auto last = clock_type::now();
        // The first step of an epoch is left out: before it the run is made, or the last epoch is validated.
        bool is_first = true;
        std::uint64_t epoch = net.time().epoch;
        of_run.on_step = [&](espalier::clock const& next) {
            auto const now = clock_type::now();
            if (!is_first) run.steps.push_back(std::chrono::duration<double>(now - last).count());
            is_first = next.epoch != epoch;
            epoch = next.epoch;
            last = now;
        };
        finish_run(run, fit(net, loss, optimizer, data, of_run));
    }
    return runs;
}

} // namespace detail

/// Trains every stack of the set on the same data, with the same seeds, loss and optimizer, and returns what came out.
///
///     auto const results = esp::compare<stack>(esp::pairwise(all), esp::loss::cross_entropy{},
///                                              esp::optimizer::adamw{}, train,
///                                              {.fit = {.epochs = 5, .validation = test}, .file = "space.json"});
///     std::fputs(results.text().c_str(), stdout);
///
/// Throws what `fit` throws, and data_error for options that are the comparison's own or a file of another comparison
/// or of another stack; results so far are in the file then, that of the stack that `on_result` throws at among them.
template <template <class...> class Stack, class Device = device::cpu, class T = float, class Set, class Loss,
          class Optimizer>
comparison compare(Set set, Loss const& loss, Optimizer const& optimizer, data_view const& data,
                   compare_options const& options = {}) {
    detail::check_compare_options(options);
    auto first_step = optimizer.at(clock{}, 1);
    detail::comparison_log log(
        Set::whole::labels(), options,
        detail::comparison_settings(options, data,
                                    {detail::written_type<Loss>(), detail::written_type<Optimizer>(),
                                     detail::written_type<Device>(), detail::written_type<T>()},
                                    first_step.rate()));
    for_each<Stack>(set, [&](auto stack, combination const& which) {
        using stack_type = typename decltype(stack)::type;
        if (log.has(which, detail::written_type<stack_type>())) return;
        log.add(
            which,
            {detail::written_type<stack_type>(), summarise<stack_type, T>(), index_t{decltype(first_step)::moments}},
            detail::compare_one<stack_type, Device, T>(loss, optimizer, data, options));
    });
    return log.finish();
}

} // namespace espalier
