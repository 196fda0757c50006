// SPDX-License-Identifier: Apache-2.0
// The selection of masks on a GPU, against what a program does that selects on the host: copy the weights, select there
// with the CPU's loop, copy the mask back.
// Floor: the weights read twice and a bit written for each. Ours reads keys of 32 bits three times to find the
// threshold and once more to write the mask.
#include "bench.hpp"

#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/on_device.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/weight/identity.hpp>

namespace {

namespace esp = espalier;
using namespace gpu_bench;

struct weights {
    index_t n;
    device_array<float> w;
    device_array<std::uint32_t> mask;
    device_array<esp::mask_survey> survey{1};
    device_array<index_t> counters;
    explicit weights(index_t count)
        : n(count), w(normal<float>(n, 7)), mask((n + 31) / 32), counters(esp::mask_counters(n)) {}
};

void select(bench_device& device, weights& all, index_t keep) {
    static auto const plan = esp::prune::device_plan_of<esp::prune::magnitude<0.5, esp::prune::global>,
                                                        esp::weight::identity, bench_device, float>();
    device.start_selection(esp::mask_request{all.n, keep, true}, plan.largest_key, all.survey.data());
    device.count_kept(static_cast<std::uint32_t const*>(all.mask.data()), all.n, all.survey.data());
    for (int round = 0; round < plan.rounds; ++round) {
        plan.stages[0].look(device, {}, {all.w.data()}, all.n, nullptr, all.survey.data());
        device.narrow_selection(round == 0, all.survey.data());
    }
    plan.stages[0].write(device, {}, {all.w.data()}, all.n, all.counters.data(), all.survey.data(), all.mask.data());
}

struct on_the_host {
    std::vector<float> w;
    std::vector<std::uint32_t> mask;
    explicit on_the_host(weights const& all)
        : w(static_cast<std::size_t>(all.n)), mask(static_cast<std::size_t>(all.mask.size())) {}
    void select(weights& all, index_t keep) {
        all.w.copy_to_host(w.data(), all.n);
        esp::prune::piece<float> const whole[] = {{w.data(), all.n, mask.data()}};
        esp::prune::select_largest<esp::prune::by_magnitude>(whole, keep);
        all.mask.copy_from_host(mask.data(), all.mask.size());
    }
};

void measure(bench_device& device, report& results) {
    struct selection {
        char const* name;
        index_t n;
        double left_out;
    };
    for (selection const& s : {selection{"half_4M", 4 << 20, 0.5}, selection{"tenth_4M", 4 << 20, 0.9},
                               selection{"tenth_256M", 256 << 20, 0.9}}) {
        weights all(s.n);
        on_the_host host(all);
        index_t const keep = esp::prune::kept_count(s.n, s.left_out);
        auto const ours = [&](int) { select(device, all, keep); };
        auto const by_host = [&](int) { host.select(all, keep); };
        ours(0);
        auto const found = first_of(all.mask, all.mask.size());
        by_host(0);
        if (found != host.mask) throw std::runtime_error(std::string("prune/") + s.name + ": another mask");
        results.add({"prune", s.name, median_ns(device.stream(), ours, 5), median_ns(device.stream(), by_host, 1, 5),
                     results.floor_of(8.125 * static_cast<double>(s.n))});
    }
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
