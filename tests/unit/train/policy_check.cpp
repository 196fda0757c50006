// SPDX-License-Identifier: Apache-2.0
// check_policy: every shipped policy passes, and wrong ones fail with the point where they are wrong.
#include <espalier/activation/all.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/math.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/drop_step.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/dropout/unscaled.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/initial/he_normal.hpp>
#include <espalier/initial/he_uniform.hpp>
#include <espalier/initial/normal.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/initial/xavier_normal.hpp>
#include <espalier/initial/xavier_uniform.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/axes.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/elastic_weight_consolidation.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/penalty/smooth_l1.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/projection/box.hpp>
#include <espalier/projection/max_norm.hpp>
#include <espalier/projection/non_negative.hpp>
#include <espalier/prune/below.hpp>
#include <espalier/prune/by_sensitivity.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/exchange.hpp>
#include <espalier/prune/frozen.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/marked.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/policy_check.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/composed.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
#include <espalier/weight/marked.hpp>
#include <espalier/weight/score_mask.hpp>
#include <espalier/weight/trained_where.hpp>

#include <support/catch.hpp>
#include <support/named_numbers.hpp>

#include <string>
#include <string_view>

using namespace espalier;

namespace {

template <class... Ps> void all_pass() {
    (
        [] {
            auto const report = check_policy<Ps>();
            INFO(report.text);
            CHECK(report.ok());
        }(),
        ...);
}
/// And `describe` names the numbers of their ops.
template <class... Ps> void all_shipped_pass() {
    all_pass<Ps...>();
    CHECK(support::all_name_their_numbers(type_list<Ps...>{}));
}

template <class P> void fails(std::string_view line) {
    auto const report = check_policy<P>();
    INFO(report.text);
    CHECK_FALSE(report.ok());
    CHECK_THAT(report.text, contains_text("FAIL  " + std::string(line)));
}

// ---- policies with a mistake

struct half_of_derivative {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "half_of_derivative";
    template <class T> ESPALIER_FN static T forward(T x) { return x * x; }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) { return dy * x; }
};
struct wrong_beyond_three {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::max;
        return max(x, T(scalar_of<T>(3)));
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::select;
        return select(x > T(scalar_of<T>(4)), dy, T(scalar_of<T>(0)));
    }
};
struct outside_the_slopes {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::abs;
        return abs(x);
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::select;
        T const zero(scalar_of<T>(0));
        return select(x > zero, dy, select(x < zero, -dy, dy + dy));
    }
};
struct reads_more {
    using axis = espalier::axis::activation;
    static constexpr bool reads_input = false;
    template <class T> ESPALIER_FN static T forward(T x) { return x * x; }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) { return (x + x) * dy; }
};
struct wrong_row {
    using axis = espalier::axis::activation;
    static constexpr bool row_form = true;
    template <class Group, class T, int N> static void forward(Group const& group, row<Group, T, N>& x) {
        row_softmax(group, x);
    }
    template <class Group, class T, int N>
    static void backward(Group const&, row<Group, T, N> const& y, row<Group, T, N>& dy) {
        for (int i = 0; i < y.local; ++i)
            dy.v[i] = y.v[i] * dy.v[i];
    }
};
struct without_scale {
    using axis = espalier::axis::dropout;
    static constexpr random_scope scope = random_scope::element;
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        using espalier::select;
        return select(bits >= Bits(16384), T(scalar_of<T>(1)), T(scalar_of<T>(0)));
    }
};
enum class shift_kind { zero_mean, above, infinite };
template <shift_kind Kind> struct with_shift : dropout::bernoulli<0.5> { // what is dropped gives its room to the others
    struct op : op_of<dropout::bernoulli<0.5>> {
        template <class T, class Bits> ESPALIER_FN T shift(Bits bits) const {
            using espalier::select;
            using S = scalar_of<T>;
            T const low(S(Kind == shift_kind::above ? 0.0 : -0.25));
            T const high(S(Kind == shift_kind::infinite ? 1.0 / 0.0 : 0.25));
            return select(bits >= Bits(32768), high, low);
        }
    };
    static op at(espalier::clock const& now) { return {op_at<dropout::bernoulli<0.5>>(now)}; }
};
struct forgets_its_column { // drops more the further to the right, and never scales
    using axis = espalier::axis::dropout;
    static constexpr random_scope scope = random_scope::element;
    template <class T, class Bits> ESPALIER_FN T factor(epilogue_about<T, Bits> const& about) const {
        using espalier::select;
        return select(about.bits >= about.column * Bits(4096), T(scalar_of<T>(1)), T(scalar_of<T>(0)));
    }
};
struct means_it : forgets_its_column {
    [[maybe_unused]] static constexpr bool keeps_mean = false;
};
struct wrong_penalty {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w) const { return w * w * T(scalar_of<T>(1e-4)); }
    template <class T> ESPALIER_FN T gradient(T w) const { return w * T(scalar_of<T>(1e-4)); }
};
struct wrong_prox {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w) const { return w * w; }
    template <class T> ESPALIER_FN T gradient(T w) const { return w + w; }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        return w / (T(scalar_of<T>(1)) + about.rate);
    }
};
struct forgets_its_anchor {
    using axis = espalier::axis::penalty;
    static constexpr int companions = 1;
    static constexpr std::string_view companion_names[] = {"anchor"};
    template <class T> ESPALIER_FN T value(T w, element_about<T> const& about) const {
        return (w - about.companion[0]) * (w - about.companion[0]);
    }
    template <class T> ESPALIER_FN T gradient(T w) const { return w + w; }
};
struct declares_no_companion {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w, element_about<T> const& about) const {
        return (w - about.companion[0]) * (w - about.companion[0]);
    }
    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const {
        return T(scalar_of<T>(2)) * (w - about.companion[0]);
    }
};
struct wrong_group {
    using axis = espalier::axis::penalty;
    static constexpr group_scope groups = group_scope::rows;
    template <class T> ESPALIER_FN T gradient(T w) const { return w; }
    template <class T> ESPALIER_FN T group_value(T squared_norm) const { return squared_norm; }
};
struct wrong_group_prox : penalty::group_lasso_op<group_scope::rows> {
    using axis = espalier::axis::penalty;
    wrong_group_prox() : penalty::group_lasso_op<group_scope::rows>{0.5} {}
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        return w / (T(scalar_of<T>(1)) + about.rate);
    }
};
struct forgets_the_rows {
    using axis = espalier::axis::activation_penalty;
    static constexpr penalty_scope scope = penalty_scope::element;
    template <class T> ESPALIER_FN T contribution(T y) const { return y * y; }
    ESPALIER_FN double finish(double sum, double row_count) const { return sum / row_count; }
    template <class T> ESPALIER_FN T gradient(T y, T) const { return y + y; }
};
struct overshoots {
    using axis = espalier::axis::projection;
    template <class T> ESPALIER_FN T apply(T next) const { return next * T(0.5f); }
};
struct hidden_norm {
    using axis = espalier::axis::projection;
    template <class T> ESPALIER_FN T apply(T next, element_about<T> const& about) const {
        using espalier::min;
        return min(next, about.squared_norm);
    }
};
struct hidden_reference {
    using axis = espalier::axis::transform;
    [[maybe_unused]] static constexpr int stage = 0;
    template <class T> ESPALIER_FN T apply(T g, element_about<T> const& about) const { return g + about.reference; }
};
struct wrong_pull {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
    template <class T> ESPALIER_FN static T pull(T g) { return g; }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw) { return raw + raw; }
};
struct effective_by_rate : weight::identity {
    static constexpr bool needs_operand = true;
    template <class T> ESPALIER_FN static T effective(T raw, element_about<T> const& about) { return raw + about.rate; }
};
struct no_operand {
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = false;
    template <class T> ESPALIER_FN static T pull(T g) { return g + g; }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw) { return raw + raw; }
};

/// A mistake in packs alone.
template <class T> ESPALIER_FN T off_in_packs(T x) {
    return is_pack<T> ? x + x : x;
}

struct swallows_nan {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::max;
        return max(x, T(scalar_of<T>(0)));
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::select;
        return select(x > T(scalar_of<T>(0)), dy, T(scalar_of<T>(0)));
    }
};
template <bool Forward> struct activation_of_packs {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return Forward ? off_in_packs(x) : x; }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return Forward ? dy : off_in_packs(dy); }
};
/// y = x minus the mean of the row: of one lane's share of it; of what stands past the last column, too; of packs.
enum class row_fault { none, lane, beyond, packs, backward };
template <row_fault Fault> struct centred {
    using axis = espalier::axis::activation;
    static constexpr bool row_form = true;
    template <class Group, class T, int N> static void forward(Group const& group, row<Group, T, N>& x) {
        T sum(0);
        for (int i = 0; i < x.local; ++i)
            sum += Fault == row_fault::beyond ? x.v[i] : x.inside(group, i, x.v[i], T(0));
        if (Fault != row_fault::lane) sum = group.reduce_add(sum);
        if (Fault == row_fault::packs) sum = off_in_packs(sum);
        for (int i = 0; i < x.local; ++i)
            x.v[i] = x.v[i] - sum * T(1.0 / N);
    }
    template <class Group, class T, int N>
    static void backward(Group const& group, row<Group, T, N> const&, row<Group, T, N>& dy) {
        T const mean = row_sum(group, dy) * T(1.0 / N);
        for (int i = 0; i < dy.local; ++i)
            dy.v[i] = Fault == row_fault::backward ? off_in_packs(dy.v[i] - mean) : dy.v[i] - mean;
    }
};
enum class member { value, gradient, prox };
template <member Wrong> struct penalty_of_packs {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w) const { return Wrong == member::value ? off_in_packs(w * w) : w * w; }
    template <class T> ESPALIER_FN T gradient(T w) const {
        return Wrong == member::gradient ? off_in_packs(w + w) : w + w;
    }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        T const u = w / (T(scalar_of<T>(1)) + about.rate + about.rate);
        return Wrong == member::prox ? off_in_packs(u) : u;
    }
};
template <member Wrong> struct group_of_packs {
    using axis = espalier::axis::penalty;
    static constexpr group_scope groups = group_scope::rows;
    template <class T> ESPALIER_FN T gradient(T w) const {
        return Wrong == member::gradient ? off_in_packs(w + w) : w + w;
    }
    template <class T> ESPALIER_FN T group_value(T squared_norm) const {
        return Wrong == member::value ? off_in_packs(squared_norm) : squared_norm;
    }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        T const u = w / (T(scalar_of<T>(1)) + about.rate + about.rate);
        return Wrong == member::prox ? off_in_packs(u) : u;
    }
};
template <member Wrong> struct output_penalty_of_packs {
    using axis = espalier::axis::activation_penalty;
    static constexpr penalty_scope scope = penalty_scope::element;
    template <class T> ESPALIER_FN T contribution(T y) const {
        return Wrong == member::value ? off_in_packs(y * y) : y * y;
    }
    ESPALIER_FN double finish(double sum, double row_count) const { return sum / row_count; }
    template <class T> ESPALIER_FN T gradient(T y, T row_count) const {
        return (Wrong == member::gradient ? off_in_packs(y + y) : y + y) / row_count;
    }
};
struct map_of_packs : weight::identity {
    template <class T> ESPALIER_FN static T effective(T raw) { return off_in_packs(raw); }
};
struct flattened { // the sign of the gradient only
    using axis = espalier::axis::weight;
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = false;
    template <class T> ESPALIER_FN static T pull(T g) {
        using espalier::select;
        return select(g > T(scalar_of<T>(0)), T(scalar_of<T>(1)), T(scalar_of<T>(-1)));
    }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw) { return raw; }
};
struct draws_too_much {
    using axis = espalier::axis::dropout;
    static constexpr random_scope scope = random_scope::element;
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        using espalier::select;
        return off_in_packs(select(bits >= Bits(32768), T(scalar_of<T>(2)), T(scalar_of<T>(0))));
    }
};
struct divides_by_nothing : draws_too_much {
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        return T(scalar_of<T>(1)) / static_cast<T>(bits);
    }
};
struct transform_of_packs {
    using axis = espalier::axis::transform;
    [[maybe_unused]] static constexpr int stage = 0;
    template <class T> ESPALIER_FN T apply(T g) const { return off_in_packs(g); }
};
struct divides_by_gradient {
    using axis = espalier::axis::transform;
    [[maybe_unused]] static constexpr int stage = 0;
    template <class T> ESPALIER_FN T apply(T g) const { return g / g; }
};
enum class filling { infinite, of_float, by_stride, between, by_call };
template <filling Way> struct fills_wrongly {
    using axis = espalier::axis::initial;
    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const&) {
        static int calls = 0;
        ++calls;
        for (index_t r = 0; r < w.rows; ++r)
            for (index_t c = 0; c < w.columns; ++c) {
                w(r, c) = static_cast<T>(0.1) * static_cast<T>(c);
                if (Way == filling::infinite) w(r, c) = T(1) / static_cast<T>(c);
                if (Way == filling::of_float && sizeof(T) == 4) w(r, c) = T(2);
                if (Way == filling::by_stride) w(r, c) = static_cast<T>(r * w.stride + c);
                if (Way == filling::by_call) w(r, c) = static_cast<T>(calls);
            }
        if (Way == filling::between && w.stride > w.columns) w.data[w.columns] = T(0);
    }
};
struct keeps_everything {
    static constexpr std::string_view name = "everything";
    static constexpr bool global = false;
    template <class Criterion, class T> static void select(matrix_view<T const> w, double, std::uint32_t* mask) {
        for (index_t i = 0; i < w.rows * w.columns; i += 32)
            mask[i / 32] = ~0u;
    }
};
struct half_a_key {
    static constexpr std::string_view name = "half";
    template <class T> static std::uint32_t key(T w) { return to_bits(static_cast<float>(w)) & 0x7fffffffu; }
};
struct sparse_beyond : prune::magnitude<0.3> {
    static double sparsity(espalier::clock const&) { return 1.5; }
};

template <double Slope> struct number_in_its_type {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x * T(scalar_of<T>(Slope)); }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy * T(scalar_of<T>(Slope)); }
};
struct slopes {
    int count;
    float slope;
};
template <slopes Given> struct number_in_a_structure {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x * T(scalar_of<T>(Given.slope)); }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy * T(scalar_of<T>(Given.slope)); }
};
template <double> struct half_of {};
template <class Of = half_of<0.5>> struct number_by_default {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x; }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy; }
};
template <int Slope> struct integer_in_its_type {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x * T(scalar_of<T>(Slope)); }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy * T(scalar_of<T>(Slope)); }
};
struct scaled_op {
    double slope;
    template <class T> ESPALIER_FN T forward(T x) const { return x * T(static_cast<scalar_of<T>>(slope)); }
    template <class T> ESPALIER_FN T backward(T, T, T dy) const { return dy * T(static_cast<scalar_of<T>>(slope)); }
};
template <double Slope> struct number_in_its_op {
    using axis = espalier::axis::activation;
    using op = scaled_op;
    static op at(espalier::clock const&) { return op{Slope}; }
};

} // namespace

TEST_CASE("check_policy: every shipped activation passes", "[train][policy_check]") {
    all_shipped_pass<activation::gelu, activation::gelu_tanh, activation::identity, activation::power<3>,
                     activation::relu, activation::sigmoid, activation::silu, activation::softmax, activation::tanh>();
}

TEST_CASE("check_policy: every shipped penalty passes", "[train][policy_check]") {
    all_shipped_pass<penalty::l1<1e-4>, penalty::l1<0.3>, penalty::l2<1e-4>, penalty::l2<2.0>,
                     penalty::elastic_net<0.1, 0.2>, penalty::group_lasso<1e-3, penalty::over::rows>,
                     penalty::nested_group_lasso<0.3, penalty::over::ranks>, penalty::anchor<0.5>,
                     penalty::elastic_weight_consolidation<0.5>, penalty::proximal<penalty::anchor<2.0>>,
                     penalty::proximal<penalty::elastic_weight_consolidation<0.3>>,
                     penalty::proximal<penalty::l1<0.01>>, penalty::proximal<penalty::elastic_net<0.1, 0.2>>,
                     penalty::proximal<penalty::group_lasso<0.3, penalty::over::columns>>,
                     on<role::bias, penalty::l2<0.5>>, penalty::smooth_l1<0.3>, penalty::where_pruned<penalty::l2<0.3>>,
                     penalty::where_pruned<penalty::proximal<penalty::anchor<0.5>>>, activation_penalty::l1<1e-3>,
                     activation_penalty::flops<1e-3>>();
}

TEST_CASE("check_policy: shipped dropouts, transforms, weight maps and the rest pass", "[train][policy_check]") {
    all_shipped_pass<
        dropout::none, dropout::bernoulli<0.3>, dropout::drop_path<0.1>, dropout::drop_segment<4, 0.1>,
        dropout::rate_of_row<>, dropout::filled<-1.0, dropout::unscaled<dropout::drop_step<0.5>>>, means_it,
        with_shift<shift_kind::zero_mean>, dropout::shared_by<&rows::group, dropout::bernoulli<0.3>>,
        transform::agreement<0.5>, transform::clip_value<1.0>, transform::clip_global_norm<1.0>,
        transform::gradient_dropout<0.25>, projection::non_negative, projection::box<-0.25, 0.5>,
        projection::max_norm<2.0, over::columns>, on<role::bias, projection::max_norm<0.0, over::tensor>>,
        weight::identity, weight::fixed_mask, weight::marked, weight::trained_where, weight::low_rank<3>,
        weight::low_rank_adapter<3>, weight::score_mask<>, weight::compander<weight::softsign, 0.8, 0.5>,
        weight::compander<weight::arctan, 0.8, 0.5, weight::learned<>>,
        weight::composed<weight::fixed_mask, weight::compander<weight::tanh, 0.8, 0.5>>,
        weight::composed<weight::compander<weight::arctan, 0.8, 0.5, weight::learned<>>,
                         weight::composed<weight::compander<weight::tanh, 0.7, 0.4>, weight::fixed_mask>>>();
    all_shipped_pass<initial::he_normal, initial::he_uniform, initial::xavier_normal, initial::xavier_uniform,
                     initial::uniform<-0.3, 0.3>, initial::normal<0.3>, initial::constant<0.5>, initial::zeros>();
    all_shipped_pass<prune::magnitude<0.3>, prune::magnitude<0.3, prune::global, prune::straight_through>,
                     prune::magnitude<0.3, prune::per_layer, prune::decayed<0.3>>,
                     prune::magnitude<0.3, prune::per_layer, prune::decayed<0.3, prune::derivative::exact>>,
                     prune::magnitude<0.3, prune::per_layer, prune::marked>, prune::n_m_magnitude<2, 4>,
                     prune::magnitude<1.0, prune::below<0.1>, prune::frozen>,
                     prune::magnitude<0.5, prune::exchange<0.3>>,
                     prune::policy<prune::by_sensitivity, prune::per_layer, 0.3, prune::hard>>();
    // the numbers of another time
    espalier::clock late;
    late.step = 50;
    CHECK(check_policy<dropout::bernoulli<schedule::linear{.from = 0.0, .to = 0.5, .steps = 100}>>(late).ok());
}

TEST_CASE("check_policy: a number in the type of an op is a mistake, a number in the op is not",
          "[train][policy_check]") {
    std::string_view const line = "no floating-point number in the type of its op";
    fails<number_in_its_type<1.0 / 3.0>>(line);
    fails<number_in_its_type<0.25>>(line);
    fails<number_in_its_type<-0.0>>(line);
    fails<number_in_a_structure<slopes{2, 0.5f}>>(line);
    fails<number_by_default<>>(line);
    CHECK(check_policy<number_in_its_type<0.25>>().failures == 1);
    all_pass<integer_in_its_type<3>, number_in_its_op<1.0 / 3.0>>();
    // Names as the two compilers mangle them: integers, an enumeration and digits in a name are no numbers.
    using detail::has_floating_argument;
    STATIC_REQUIRE(has_floating_argument("1aILi4ELd4000000000000000EE"));
    STATIC_REQUIRE(has_floating_argument("1bIXtl3linLi3ELf3dcccccdEEE"));
    STATIC_REQUIRE(has_floating_argument("1bILe0000000000003ffbcccccccccccccccdEE"));
    STATIC_REQUIRE(has_floating_argument("1bILe3ffbcccccccccccccccdEE"));
    STATIC_REQUIRE(!has_floating_argument("1bILi33554432EL1e1ELb1ELin1EE"));
    STATIC_REQUIRE(!has_floating_argument("22has_Ld400000000000000_x"));
    STATIC_REQUIRE(!has_floating_argument("1bILd4000000000000000"));
    // Where only the host reads a number it may stand anywhere.
    all_pass<initial::uniform<-0.3, 0.3>, dispatch::capacity<1.25>,
             weight::low_rank<3, schedule::linear{.from = 1.5, .to = 3.0, .steps = 10}>,
             weight::low_rank_adapter<3, weight::adaptive_gain<0.3>>>();
}

TEST_CASE("check_policy: the report names the policy, the check and the point", "[train][policy_check]") {
    auto const report = check_policy<half_of_derivative>();
    CHECK(report.failures == 1);
    CHECK(report.text.starts_with("half_of_derivative on axis activation\n"));
    // the first point is -5 + 10 * 0.371 / 64
    CHECK_THAT(report.text,
               contains_text("  FAIL  backward is the derivative of forward at x = -4.94203125: given -4.94203125, "
                             "expected -9.8840625"));
    CHECK_THAT(report.text, contains_text("  ok    backward is proportional to dy: 4 points"));
}

TEST_CASE("check_policy: wrong policies fail where they are wrong", "[train][policy_check]") {
    fails<wrong_beyond_three>("backward is the derivative of forward at x = 3.0");
    fails<outside_the_slopes>("backward is the derivative of forward at x = 0: given 2");
    fails<reads_more>("backward reads what it declares, no more at x = -2.3: given nan");
    fails<wrong_row>("gradient of a row at column 0");
    fails<without_scale>("the mean factor over all draws is 1 at all 65536 draws: given 0.75, expected 1");
    fails<forgets_its_column>("the mean factor over all draws is 1 at all 65536 draws: given 0.6875, expected 1");
    fails<with_shift<shift_kind::above>>(
        "the mean shift over all draws is 0 at all 65536 draws: given 0.125, expected 0");
    fails<with_shift<shift_kind::infinite>>("factors and shifts are finite at bits = 32768: given 2 and inf");
    fails<wrong_penalty>("gradient is the derivative of value at w = -4.94203125");
    fails<forgets_its_anchor>("gradient is the derivative of value at w = -4.94203125");
    fails<declares_no_companion>("gradient is the derivative of value at w = 0: given nan");
    fails<wrong_prox>("prox minimises value(u) + (u - w)^2 / (2 rate) at w = -3.2, rate = 0.05");
    fails<wrong_group_prox>("prox minimises group_value(|u|^2) + |u - w|^2 / (2 rate) at w = (-3.2, 0), rate = 0.05");
    fails<wrong_group>("gradient is the derivative of the group's value at w = -4.94203125");
    fails<forgets_the_rows>("gradient is the derivative of the term at y = ");
    fails<overshoots>("applied twice it gives what it gives once at w = -70: given -35 and then -17.5");
    fails<hidden_norm>("reads what it declares, no more at w = 0.2: the result depends on about.squared_norm, but "
                       "`groups` is not declared");
    fails<hidden_reference>("reads what it declares, no more at g = -3: the result depends on about.reference");
    fails<wrong_pull>("pull is the derivative of effective at w = -4.94203125: given 1, expected 2");
    fails<effective_by_rate>("effective reads the weight and the mask, no more at w = -2.3: given -2.2, expected -2.3");
    fails<no_operand>("store keeps what it stored, and products may read it at w = -2");
    fails<swallows_nan>("a NaN stays a NaN at x = nan: given 0");
    fails<centred<row_fault::lane>>("outputs of one row over several lanes at row 0, column 0");
    fails<centred<row_fault::beyond>>("outputs of one row over several lanes at row 0, column 0: given nan");
    fails<centred<row_fault::packs>>("outputs of several rows in packs at row 0, column 0");
    fails<centred<row_fault::backward>>("gradient of several rows in packs at row 0, column 0");
    fails<flattened>("pull is proportional to the gradient at w = -2.3: given -1, expected -2.5");
    fails<divides_by_nothing>("factors are finite at bits = 0: given inf");
    fails<divides_by_gradient>("finite gradients stay finite at g = 0");
    all_pass<centred<row_fault::none>>();
}

TEST_CASE("check_policy: what is wrong in packs alone is found", "[train][policy_check]") {
    fails<activation_of_packs<true>>("forward of a pack at x = ");
    fails<activation_of_packs<false>>("backward of a pack at x = ");
    fails<penalty_of_packs<member::value>>("value of a pack at x = ");
    fails<penalty_of_packs<member::gradient>>("gradient of a pack at x = ");
    fails<penalty_of_packs<member::prox>>("prox of a pack at x = ");
    fails<group_of_packs<member::value>>("group_value of a pack at x = ");
    fails<group_of_packs<member::gradient>>("gradient of a pack at x = ");
    fails<group_of_packs<member::prox>>("prox of a pack at x = ");
    fails<output_penalty_of_packs<member::value>>("contribution of a pack at x = ");
    fails<output_penalty_of_packs<member::gradient>>("gradient of a pack at x = ");
    fails<map_of_packs>("pull, store and effective of a pack at x = ");
    fails<draws_too_much>("factor of a pack at x = ");
    fails<transform_of_packs>("apply of a pack at x = ");
}

TEST_CASE("check_policy: initialisers and rules of pruning that are wrong fail where they are wrong",
          "[train][policy_check]") {
    fails<fills_wrongly<filling::infinite>>(
        "values are finite, and those of float are those of double rounded at row 0, column 0: given inf");
    fails<fills_wrongly<filling::of_float>>(
        "values are finite, and those of float are those of double rounded at row 0, column 0 in float: given 2");
    fails<fills_wrongly<filling::by_stride>>(
        "an element depends on its place and the site alone at row 1, column 0 of rows that lie apart");
    fails<fills_wrongly<filling::by_call>>("an element depends on its place and the site alone at row 0, column 0");
    fails<fills_wrongly<filling::between>>("what lies between the rows is left alone at row 0: given 0");
    fails<prune::policy<prune::by_magnitude, keeps_everything, 0.5, prune::hard>>(
        "a selection leaves out the share that it was given at sparsity 0.25: given 1, expected 0.75");
    fails<prune::policy<half_a_key, prune::per_layer, 0.5, prune::hard>>(
        "a key is as wide as the weight at float and double: given 4 and 4 bytes");
    fails<sparse_beyond>("sparsity lies in [0, 1] at step 0: given 1.5");
}

TEST_CASE("check_policy: what has its members checked only says so", "[train][policy_check]") {
    for (auto const& report : {check_policy<weight::low_rank<3>>(), check_policy<dispatch::capacity<1.25>>()}) {
        INFO(report.text);
        CHECK(report.not_checked == 1);
        CHECK_THAT(report.text, contains_text("  not checked: anything but members and names: check_gradients_of"));
    }
}

namespace {

/// An axis that the library does not know.
struct unit_axis : axis_defaults {
    static constexpr std::string_view name = "unit";
    static constexpr axis_place place = axis_place::tensor;
    template <class P> static constexpr bool reaches_kernels = true;
    template <class Asked> static consteval bool members() {
        constexpr bool says = requires {
            Asked::policy::metres;
        };
        ESPALIER_NEEDS(says, "a unit needs `static constexpr double metres`");
        return says;
    }
    template <class P> static void check(policy_checker& to, espalier::clock const& now) {
        to.line(P::metres > now.epoch, "longer than the epoch's number");
    }
};
struct millimetre {
    using axis = unit_axis;
    static constexpr double metres = 1e-3;
};
struct nameless {
    using axis = unit_axis;
};

template <class Axis, class... Others> constexpr bool has_axis(type_list<Others...>) {
    return (false || ... || std::is_same_v<Axis, Others>);
}

} // namespace

TEST_CASE("check_policy: an axis of one's own is asked and tried as those of the library are",
          "[train][policy_check]") {
    auto const report = check_policy<millimetre>();
    CHECK(report.ok());
    CHECK(report.checks == 3); // members, the type of its op, the axis' own
    CHECK(report.text.find("unit on axis unit") == 0);
    espalier::clock late;
    late.epoch = 1;
    CHECK(check_policy<millimetre>(late).failures == 1);
    STATIC_REQUIRE(detail::check_members<diagnostic::nowhere, void, millimetre>());
    STATIC_REQUIRE_FALSE(detail::check_members<diagnostic::nowhere, void, nameless>());
    STATIC_REQUIRE(detail::list_checks<diagnostic::nowhere, void, type_list<unit_axis>, millimetre>::hold);
    STATIC_REQUIRE_FALSE(
        detail::list_checks<diagnostic::nowhere, void, type_list<unit_axis>, millimetre, millimetre>::hold);
}

TEST_CASE("axes: a layer has the axes of the places that it has", "[train][policy_check]") {
    STATIC_REQUIRE(std::is_same_v<axes_at<axis_place::row>, type_list<axis::dispatch>>);
    STATIC_REQUIRE(std::is_same_v<axes_at<axis_place::epilogue>,
                                  type_list<axis::activation, axis::dropout, axis::units, axis::activation_penalty>>);
    STATIC_REQUIRE(has_axis<axis::prune>(dense<3>::axes{}));
    STATIC_REQUIRE_FALSE(has_axis<axis::gate>(dense<3>::axes{}));
    STATIC_REQUIRE_FALSE(has_axis<axis::product>(embedding<vocabulary<5>, 3>::axes{}));
    STATIC_REQUIRE(has_axis<axis::weight>(embedding<vocabulary<5>, 3>::axes{}));
    STATIC_REQUIRE(
        std::is_same_v<
            axes_at<axis_place::epilogue, axis_place::product, axis_place::tensor, axis_place::row, axis_place::layer>,
            all_axes>);
}
