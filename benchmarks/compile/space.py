#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a space of specialisations costs the compiler, against the same stacks listed by hand: CPU seconds and memory, the
best of several turns.

    benchmarks/compile/space.py [--level=-O0] [--repetitions 5]

36: all stacks of a space of 3 x 3 x 4, each trained for a step. 50 of 10,000: a sample of a space of four axes of 10.
pairs of 10,000: the listing of a covering array alone, no stack of it.
"""

import argparse

from compile import cost, includes

head = includes + """#include <espalier/activation/silu.hpp>
#include <espalier/activation/tanh.hpp>
namespace esp = espalier;
template <class Stack> double use() {
    esp::network<Stack, esp::device::cpu, float> net{esp::seed{1}, 32};
    esp::training train{net, esp::loss::cross_entropy{}, esp::optimizer::adam{}};
    float x[32 * 16] = {};
    std::int32_t y[32] = {};
    esp::rows tags;
    tags.count = 32;
    tags.label = y;
    return train.step({esp::contiguous_view<float const>(x, 32, 16), tags, {}}).loss;
}
"""
space_head = """#include <espalier/space/space.hpp>
#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>
namespace hana = boost::hana;
"""
small = """template <class A, class D, class W>
using stack = esp::sequence<esp::input<16>, esp::dense<W::value, A, D>, esp::dense<10>>;
"""
activations = ["esp::activation::relu", "esp::activation::silu", "esp::activation::tanh"]
dropouts = ["esp::dropout::bernoulli<0.1>", "esp::dropout::bernoulli<0.2>", "esp::dropout::bernoulli<0.5>"]
widths = [8, 16, 24, 32]
large = """template <class A, class B, class C, class D>
using stack = esp::sequence<esp::input<16>, esp::dense<A::value>, esp::dense<B::value>, esp::dense<C::value>,
                            esp::dense<D::value>>;
"""


def by_hand(stacks, kind):
    calls = "\n".join(f"    sum += use<stack<{s}>>();" for s in stacks)
    return head + "#include <type_traits>\n" + kind + f"int main() {{\n    double sum = 0;\n{calls}\n    return sum > 1e9;\n}}\n"


def by_space(axes, kind, pick):
    choices = ", ".join(f'esp::choices<"{name}">({options})' for name, options in axes)
    return head + space_head + kind + f"""constexpr auto all = esp::space({choices});
int main() {{
    double sum = 0;
    esp::for_each<stack>({pick}, [&](auto net, esp::combination const&) {{ sum += use<typename decltype(net)::type>(); }});
    return sum > 1e9;
}}
"""


def number(n):
    return f"std::integral_constant<int, {n}>"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", default="-O0")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()

    small_axes = [("activation", f"hana::tuple_t<{', '.join(activations)}>"),
                  ("dropout", f"hana::tuple_t<{', '.join(dropouts)}>"),
                  ("width", f"hana::tuple_c<int, {', '.join(map(str, widths))}>")]
    tens = ", ".join(str(8 + i) for i in range(10))
    large_axes = [(name, f"hana::tuple_c<int, {tens}>") for name in "abcd"]
    fifty = [", ".join(number(8 + d) for d in (i % 10, i // 10 % 10, (7 * i + 3) % 10, (3 * i + i // 10) % 10))
             for i in range(50)]
    listing = head + space_head + f"""constexpr auto all = esp::space({", ".join(
        f'esp::choices<"{name}">({options})' for name, options in large_axes)});
int main() {{ return %s; }}
"""
    cases = [
        ("36", by_hand([f"{a}, {d}, {number(w)}" for a in activations for d in dropouts for w in widths], small),
         by_space(small_axes, small, "all")),
        ("50 of 10,000", by_hand(fifty, large), by_space(large_axes, large, "esp::sample<50>(all)")),
        ("50 of those that a predicate takes", by_hand(fifty, large),
         by_space(large_axes, large, "esp::sample<50>(esp::where(all, [](auto const& c) { "
                                     "return c.value(\"a\") + c.value(\"b\") > 20; }))")),
        ("pairs of 10,000, listed alone", listing % "0", listing % "int(decltype(esp::pairwise(all))::size)"),
    ]
    print(f"| case, {options.level} | by hand | space | ratio | more |")
    print("|---|--:|--:|--:|--:|")
    for name, hand, space in cases:
        turns = [(cost(hand, [options.level]), cost(space, [options.level])) for _ in range(options.repetitions)]
        if not all(h and s for h, s in turns):
            raise SystemExit(f"space.py: {name} did not compile")
        h, s = ([min(numbers) for numbers in zip(*costs)] for costs in zip(*turns))
        print(f"| {name} | {h[0]:.1f} s, {h[1]:.0f} MB | {s[0]:.1f} s, {s[1]:.0f} MB | {s[0] / h[0]:.3f} | {s[0] - h[0]:.1f} s |")


if __name__ == "__main__":
    main()
