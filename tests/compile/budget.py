#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a program costs to compile, and a further layer, policy or loop in it.

    budget.py [--write] BUDGET PROGRAMS -- COMPILER ARGUMENTS...

PROGRAMS is the folder of whole programs (benchmarks/compile/programs). Costs are held to those in BUDGET
(tests/support/compile_cost.py).
"""

import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import compile_cost

INCLUDES = "".join(f"#include <espalier/{h}.hpp>\n" for h in (
    "activation/all", "device/cpu/cpu", "dropout/bernoulli", "layer/dense", "layer/input", "layer/sequence",
    "loss/cross_entropy", "network/network", "optimizer/adam", "optimizer/adamw", "optimizer/sgd", "penalty/elastic_net",
    "penalty/l1", "penalty/l2", "train/training", "transform/clip_value", "weight/identity"))
POLICIES = ("esp::activation::relu", "esp::dropout::bernoulli<0.1>", "esp::penalty::l1<1e-5>", "esp::penalty::l2<1e-5>",
            "esp::transform::clip_value<1.0>")
OPS = ("esp::optimizer::adam_op", "esp::optimizer::adamw_op", "esp::optimizer::sgd_op<esp::optimizer::momentum_kind::none>")
PENALTIES = ("esp::penalty::l1_op", "esp::penalty::l2_op", "esp::penalty::elastic_net_op")


def trains(layers):
    """A program that makes one step of a stack."""
    return INCLUDES + f"""
namespace esp = espalier;
using stack = esp::sequence<esp::input<16>, {", ".join(layers)}, esp::dense<10>>;
int main() {{
    esp::network<stack, esp::device::cpu, float> net{{esp::seed{{1}}, 32}};
    esp::training train{{net, esp::loss::cross_entropy{{}}, esp::optimizer::adam{{}}}};
    return train.step({{}}).loss > 1e9;
}}
"""


def updates(count):
    """A program with so many loops that update a tensor."""
    pairs = [(o, p) for o in OPS for p in PENALTIES][:count]
    calls = "".join(f"    esp::cpu::update({o}{{}}, esp::tensor_rule<esp::weight::identity, esp::flat_tuple<{p}>, "
                    f"esp::flat_tuple<>>{{}}, s);\n" for o, p in pairs)
    return INCLUDES + f"namespace esp = espalier;\nvoid run(esp::update_segment<float> const& s) {{\n{calls}}}\nint main() {{}}\n"


def main():
    if "--" not in sys.argv:
        sys.exit(__doc__)
    at = sys.argv.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("budget")
    parser.add_argument("programs")
    given = parser.parse_args(sys.argv[1:at])
    dense = [f"esp::dense<{16 + i}, esp::activation::relu>" for i in range(40)]
    texts = {f"program {name}": open(os.path.join(given.programs, name)).read() for name in ("fit.cpp", "own_loop.cpp")}
    # what is measured: (text with many, text with few)
    further = {
        "40 further layers": (trains(dense), trains(dense[:1])),
        "4 further policies": (trains([f"esp::dense<16, {', '.join(POLICIES)}>"]), trains([f"esp::dense<16, {POLICIES[0]}>"])),
        "8 further loops": (updates(9), updates(1)),
    }
    wrong, costs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        cost = compile_cost.Cost(sys.argv[at + 1:] + ["-c", "-o", os.devnull], folder)

        def measure(name, text):
            said, memory = cost.compile(text, name)
            if said is not None:
                wrong.append(f"{name} does not compile:\n{said}")
            return (memory or 0.0) / (cost.empty or 1.0)

        for name, text in texts.items():
            costs[name] = round(measure(name, text), 3)
        for name, (many, few) in further.items():
            costs[name] = round(measure(name, many) - measure(name, few), 3)
    about = "some do not compile"
    if not wrong:
        wrong, about = compile_cost.judge(given.budget, cost.version, costs, given.write)
    print("\n".join(wrong))
    print("\n".join(f"{name}: {c} empty programs" for name, c in costs.items()) + f"\n{about}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
