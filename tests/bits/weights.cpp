// SPDX-License-Identifier: Apache-2.0
// What decides which weights the products read: pruning, weight maps and operators. And every schedule, in the numbers
// of penalties.
#include <bits/train.hpp>

#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/constant.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/exponential.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/piecewise.hpp>
#include <espalier/schedule/polynomial.hpp>
#include <espalier/schedule/product.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/schedule/step.hpp>
#include <espalier/schedule/warm_up.hpp>
#include <espalier/weight/bake.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/low_rank.hpp>

namespace bits {

namespace {

using namespace espalier::literals;
using activation::relu, activation::tanh;

constexpr prune::gradual slowly{.from = 0.0, .to = 0.75, .start = 2, .steps = 15, .every = 3};
constexpr prune::constant anew{.sparsity = 0.5, .start = 1, .every = 4};
constexpr schedule::linear fading{.from = 1.0, .to = 0.0, .steps = 12};
using pruned =
    sequence<input<width>, dense<16, relu, prune::magnitude<slowly, prune::global>>,
             dense<15, tanh, prune::magnitude<slowly, prune::global>, penalty::l2<0.01>>,
             dense<12, relu, prune::magnitude<0.25>>,
             dense<12, tanh, prune::policy<prune::by_magnitude, prune::per_layer, anew, prune::hard>>,
             dense<10, relu, prune::magnitude<slowly, prune::per_layer, prune::straight_through>>, dense<classes>>;
using pruned_n_m =
    sequence<input<width>, dense<16, relu, prune::n_m_magnitude<2, 4>>,
             dense<15, tanh, prune::magnitude<anew, prune::n_m<1, 4>, prune::straight_through>>,
             dense<12, relu, prune::magnitude<0.5, prune::per_layer, prune::decayed<fading>>>,
             dense<11, tanh, prune::n_m_magnitude<2, 4, prune::decayed<fading, prune::derivative::exact>>>,
             dense<classes>>;

constexpr schedule::runtime rank{.name = "rank"_name, .initial = 6};
using mapped = sequence<input<width>, dense<11, tanh, weight::fixed_mask>, dense<10, relu, weight::identity>,
                        dense<9, tanh, weight::low_rank<6, rank>, on<role::factor, penalty::l2<0.01>>>, dense<classes>>;

template <auto Coefficient> using decays = penalty::l2<Coefficient>;
using scheduled = sequence<
    input<width>, dense<9, relu, decays<schedule::constant{0.01}>, penalty::l1<fading>>,
    dense<8, tanh, decays<schedule::cosine{.from = 0.1, .to = 0.01, .steps = 15}>>,
    dense<9, relu, decays<schedule::exponential{.from = 0.1, .rate = 0.9, .every = 2}>>,
    dense<8, tanh, decays<schedule::polynomial{.from = 0.1, .to = 0.0, .steps = 18, .power = 3}>>,
    dense<9, relu, decays<schedule::step{.from = 0.1, .factor = 0.5, .every = 4}>>,
    dense<8, tanh, decays<schedule::piecewise{.steps = 7, .first = 0.03, .second = fading}>>,
    dense<9, relu, decays<schedule::warm_up{.steps = 6, .inner = fading}>>,
    dense<8, tanh, decays<schedule::product{.a = fading, .b = schedule::step{.from = 0.1, .factor = 0.5, .every = 4}}>>,
    dense<classes, decays<schedule::runtime{.name = "decay"_name, .initial = 0.02}>>>;

} // namespace

void train_weights(table& out) {
    constexpr optimizer::adamw<> adamw{.learning_rate = 0.01};
    train<pruned>(out, "pruned", entropy, adamw);
    train<pruned_n_m>(out, "pruned_n_m", entropy, plain);
    train<mapped>(
        out, "weight_maps", entropy, adamw, {},
        [](auto& run, auto& data, std::uint32_t number) {
            if (number == 8) run.set_value("rank"_name, 3);
            step_result result = run.step(data.batch(number));
            std::vector<float> product(10 * 9);
            weight::bake(run.net(), "3", contiguous_view(product.data(), 10, 9));
            for (float const x : product)
                result.reference += static_cast<double>(x);
            return result;
        },
        [](auto& net) {
            tensor_info const& kernel = net.values().find("1.kernel");
            std::uint32_t* const mask = net.values().masks().data() + kernel.mask_offset;
            for (index_t i = 0; i < kernel.size(); i += 3)
                mask[i / 32] &= ~(1u << (i % 32));
            net.refresh();
        });
    train<scheduled>(out, "schedules", entropy, plain, {}, [](auto& run, auto& data, std::uint32_t number) {
        if (number == 10) run.set_value("decay"_name, 0.05);
        return run.step(data.batch(number));
    });
}

} // namespace bits
