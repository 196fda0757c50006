// SPDX-License-Identifier: Apache-2.0
// Gates that look rows up, from every source and by every kind of table; gates that choose for all rows at once; and
// local searches.
#include <bits/train.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/source.hpp>
#include <espalier/gate/tables.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/network/set_table.hpp>

namespace bits {

namespace {

using expert = sequence<dense<6, activation::tanh>, dense<7>>;
template <class Gate> using stack_of = sequence<input<width>, moe<Gate, expert>, dense<classes>>;

// Whole numbers in column 0 serve as keys; they lie in ranges as well.
using looked_up =
    sequence<input<width>,
             parallel<merge::concatenate, moe<gate::hash<4, 50>, expert>,
                      moe<gate::hash<3, classes, gate::from_label>, dense<4>>,
                      moe<gate::hash<3, 7, gate::from_column<2>>, dense<3>>, moe<gate::enforced<4>, dense<2>>,
                      moe<gate::by_range<gate::equal_ranges<3, 0.0, 7.0>>, dense<2>>,
                      moe<gate::by_range<gate::ranges_between<0.0, 1.5, 6.0>, gate::from_column<1>>, dense<3>>>,
             dense<classes>>;

constexpr gate::search quick{.steps = 12, .noise = 0.1};
constexpr gate::search apart{.steps = 12, .apart = true};

using search_of_keys = stack_of<gate::local_search<gate::hash<4, 50>, quick>>;

/// A table of each kind for the keys of one gate.
struct with_table {
    enum { random, balanced, clustered, dispersed } kind;
    template <class Network> void operator()(Network& net) const {
        std::vector<std::uint64_t> counts;
        std::vector<float> points;
        for (index_t key = 0; key < 50; ++key) {
            counts.push_back(static_cast<std::uint64_t>(1 + key * 7 % 13));
            for (index_t i = 0; i < 3; ++i)
                points.push_back(static_cast<float>(key * (i + 3) % 17));
        }
        auto const clusters = gate::clustered_table(contiguous_view<float const>(points.data(), 50, 3), 4, 11);
        set_table(net, "1.gate.table",
                  kind == random      ? gate::random_table(50, 4, 3)
                  : kind == balanced  ? gate::balanced_table(counts, 4)
                  : kind == clustered ? clusters
                                      : gate::dispersed_table(clusters, 4),
                  4);
    }
};

} // namespace

void train_searches(table& out) {
    train<looked_up>(out, "gates_that_look_up", entropy, plain, {.whole = true});
    train<search_of_keys>(out, "table_random", entropy, plain, {}, plain_step{}, with_table{with_table::random});
    train<search_of_keys>(out, "table_balanced", entropy, plain, {}, plain_step{}, with_table{with_table::balanced});
    train<search_of_keys>(out, "table_clustered", entropy, plain, {}, plain_step{}, with_table{with_table::clustered});
    train<search_of_keys>(out, "table_dispersed", entropy, plain, {}, plain_step{}, with_table{with_table::dispersed});
    train<stack_of<gate::same_for_all_rows<gate::dselect_k<4, 2>>>>(out, "gate_same_for_all_rows", entropy, plain);
    train<stack_of<gate::expert_choice<4>>>(out, "gate_expert_choice", entropy, plain);
    train<stack_of<gate::local_search<gate::comet<4, 2>, apart>>>(out, "search_of_trees", entropy, plain);
    train<stack_of<gate::local_search<gate::dselect_k<4, 2>, apart>>>(out, "search_of_selectors", entropy, plain);
    train<stack_of<gate::local_search<gate::top_k<4, 2>, quick>>>(out, "search_of_top_k", entropy, plain);
}

} // namespace bits
