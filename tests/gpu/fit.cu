// SPDX-License-Identifier: Apache-2.0
// Whole programs on a GPU against the same on the CPU: fit with validation, checkpoints, pruning and penalties over
// groups; a second stream of gradients; a loss at a tap; the table of a gate. In float, and with storage in bf16.
// The loops of the CPU are host code throughout; nvcc would have them callable from device code.
#pragma nv_diag_suppress 20011, 20013, 20014, 20015

#include "verify.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/data/table.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/network/set_table.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/product/tiles.hpp>
#include <espalier/projection/box.hpp>
#include <espalier/projection/max_norm.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace espalier;
using namespace espalier::literals;
using namespace gpu_tests;

constexpr index_t width = 16;
constexpr int classes = 5;

using stack = sequence<input<width>,
                       dense<32, activation::relu, dropout::bernoulli<0.2>, penalty::l2<1e-4>,
                             transform::clip_global_norm<1.0>, prune::n_m_magnitude<2, 4>>,
                       residual<dense<32, penalty::group_lasso<1e-3, over::tensor>, projection::box<-1.0, 1.0>,
                                      projection::max_norm<4.0, over::columns>>>,
                       parallel<merge::concatenate, dense<8, projection::max_norm<1.0, over::tensor>>, dense<8>>,
                       dense<classes, penalty::group_lasso<0.1, penalty::over::columns>,
                             penalty::proximal<penalty::group_lasso<0.1, penalty::over::rows>>>>;
using gated = sequence<input<width>, dense<24, transform::agreement<0.5>>, tap<"hidden"_name>, dense<classes>>;
using tapped = sequence<input<width>, dense<classes>, tap<"hidden"_name>, dense<classes>>;
using routed = sequence<input<width>, moe<gate::hash<4, 8>, dense<12>, dispatch::dense>, dense<classes>>;
using counted = sequence<input<width>, dense<16, activation::relu>,
                         moe<gate::top_k<4, 2>, dense<12>, dispatch::compacted>, dense<classes>>;

/// Rows of classes that can be told apart, with keys for gates that look them up and targets that are certain.
struct rows_of_classes {
    static constexpr index_t count = 100;
    std::vector<float> features = numbers(count * width, 4), targets = std::vector<float>(count * classes);
    std::vector<std::int32_t> labels;
    std::vector<std::uint64_t> keys;

    rows_of_classes() {
        for (index_t r = 0; r < count; ++r) {
            auto const label = static_cast<std::int32_t>(r * 7 % classes);
            labels.push_back(label);
            keys.push_back(static_cast<std::uint64_t>(r * 3 % 8));
            features[static_cast<std::size_t>(r * width + label)] += 2.0f;
            targets[static_cast<std::size_t>(r * classes + label)] = 1.0f;
        }
    }
    data_view view() const {
        data_view d;
        d.features = matrix_view<float const>{features.data(), count, width, width};
        d.targets = matrix_view<float const>{targets.data(), count, classes, classes};
        d.labels = {labels.data(), count};
        d.keys = {keys.data(), count};
        return d;
    }
};

/// A directory that is empty at first and gone afterwards.
struct temporary_folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() /
        ("espalier_gpu_fit_" + std::to_string(std::filesystem::hash_value(std::filesystem::current_path())));
    temporary_folder() {
        std::filesystem::remove_all(path);
        std::filesystem::create_directory(path);
    }
    temporary_folder(temporary_folder const&) = delete;
    temporary_folder& operator=(temporary_folder const&) = delete;
    ~temporary_folder() { std::filesystem::remove_all(path); }
    std::string operator()(char const* name) const { return (path / name).string(); }
};

template <class Network> std::vector<typename Network::wide> weights_of(Network const& net) {
    auto const& from = net.values().weights();
    if constexpr (Network::device_type::host_memory)
        return {from.data(), from.data() + from.size()};
    else
        return on_host(from);
}

constexpr optimizer::adamw quick{.learning_rate = 1e-2};

template <class Device, class T> struct fitted {
    network<stack, Device, T> net{seed{42}, 64};
    history seen;

    fitted(data_view const& data, fit_options const& options)
        : seen(fit(net, loss::cross_entropy{}, quick, data, options)) {}
};

template <class T> void check_fit(data_view const& data, double tolerance) {
    std::string const what = std::string(sizeof(T) == 2 ? "bf16" : "float") + ", fit: ";
    temporary_folder const folder;
    fit_options options{.epochs = 4, .batch = 40, .validation = data};
    fitted<device::cpu, float> const host(data, options);
    fitted<device::cuda, T> whole(data, options);
    for (std::string const& name : host.seen.columns())
        if (name != "seconds")
            expect(distance(whole.seen.column(name), host.seen.column(name)) < tolerance, what + name);
    expect(whole.seen.last("loss") < 0.8 * whole.seen.column("loss")[0], what + "the loss falls");
    expect(distance(weights_of(whole.net), weights_of(host.net)) < tolerance, what + "weights");

    options.checkpoints = folder("");
    options.epochs = 2;
    { fitted<device::cuda, T> half(data, options); }
    options.epochs = 4;
    options.resume = true;
    fitted<device::cuda, T> const resumed(data, options);
    expect(same_bits(weights_of(resumed.net), weights_of(whole.net)), what + "a resumed training has the same bits");

    save(whole.net, folder("model.safetensors"));
    network<stack, device::cuda, T> loaded{seed{1}, 64};
    load(loaded, folder("model.safetensors"));
    auto const outputs = predict(whole.net, data);
    expect(same_bits(predict(loaded, data), outputs), what + "a loaded network has the same outputs");
    network<stack, device::cpu, float> on_host{seed{1}, 64};
    load(on_host, folder("model.safetensors"));
    expect(distance(outputs, predict(on_host, data)) < tolerance, what + "the CPU reads the file");
    auto const judged = evaluate(whole.net, loss::cross_entropy{}, data);
    expect(judged.loss == whole.seen.last("validation_loss"), what + "a network is judged as it was by fit");
}

/// A second stream of gradients, and a loss at a tap.
template <class Device, class T> std::vector<master_of<T>> trained_two_ways(data_view const& data) {
    network<gated, Device, T> net{seed{42}, 64};
    fit(net, loss::cross_entropy{}, quick, data, reference_stream{loss::soft_cross_entropy{}, data},
        {.epochs = 1, .batch = 40});
    auto weights = weights_of(net);

    network<tapped, Device, T> other{seed{42}, 64};
    training run{other, loss::cross_entropy{}, quick};
    detail::batch_storage<T> storage(64, width, data, false);
    detail::device_batch<Device, T> transfer(64, width, classes, classes);
    storage.gather(data, nullptr, 40);
    auto const batch = transfer.upload(storage.view(storage.memory(40), 40));
    for (int i = 0; i < 3; ++i)
        run.step(batch, [&](auto& taps) {
            taps.template loss<"hidden"_name>(loss::mean_squared_error{}, batch.targets);
            expect(taps.gradient("hidden").data != nullptr, "there is room for the gradient at a tap");
        });
    auto const more = weights_of(other);
    weights.insert(weights.end(), more.begin(), more.end());
    return weights;
}

template <class Device> std::vector<float> routed_outputs(data_view const& data) {
    network<routed, Device, float> net{seed{42}, 64};
    set_table(net, "1.gate.table", std::vector<std::int32_t>{0, 1, 2, 3, 0, 1, 2, 3}, 4);
    return predict(net, data);
}

template <class Device, class T> std::vector<T> counted_outputs(data_view const& data) {
    network<counted, Device, T> net{seed{42}, 64};
    fit(net, loss::cross_entropy{}, quick, data, {.epochs = 2, .batch = 40});
    return predict(net, data);
}

void tests() {
    rows_of_classes const rows;
    auto const data = rows.view();
    check_fit<float>(data, 1e-3);
    check_fit<__nv_bfloat16>(data, 0.1);
    expect(distance(trained_two_ways<device::cuda, float>(data), trained_two_ways<device::cpu, float>(data)) < 1e-3,
           "two streams and a loss at a tap");
    expect(distance(trained_two_ways<device::cuda, __nv_bfloat16>(data), trained_two_ways<device::cpu, float>(data)) <
               0.1,
           "two streams and a loss at a tap in bf16");
    expect(distance(routed_outputs<device::cuda>(data), routed_outputs<device::cpu>(data)) < 1e-5,
           "the table of a gate");
    auto const outputs = counted_outputs<device::cpu, double>(data);
    expect(distance(counted_outputs<device::cuda, double>(data), outputs) < 1e-12, "a mixture in double");
    expect(distance(counted_outputs<device::basic_cuda<product::tiles>, float>(data), outputs) < 1e-4,
           "a mixture with all products by tiles");
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
