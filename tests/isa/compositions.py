#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes compositions weight map x penalties x transforms x optimizer, drawn by a seed, as C++ that checks them.

    compositions.py --seed 20240612 --count 60 --files 4 --output DIRECTORY

DIRECTORY/compositions_0.cpp ... each have a part of them; espalier_compositions() of compositions.cpp runs all.
`--seed date` draws other ones every day. The seed is printed, and the program prints it again.
"""
import argparse
import datetime
import pathlib
import random
import sys

# name, type, value; the same names are in composition.hpp.
MAPS = [
    ("identity", "identity", None),
    ("fixed_mask", "fixed_mask", None),
    ("hard", "hard", None),
    ("straight_through", "straight_through", None),
    ("decayed", "decayed_op<derivative::exact>", "{0.5, 0.25}"),
    ("doubled", "doubled", None),
    ("saturating", "saturating", None),
]
ELEMENT_PENALTIES = [
    ("l1", "l1_op", "{0.01}"),
    ("l2", "l2_op", "{0.1}"),
    ("elastic_net", "elastic_net_op", "{0.05, 0.2}"),
    ("rounded", "rounded_op", "{0.1}"),
]
GROUPS = [(f"group_lasso over {scope}", f"group_lasso_op<group_scope::{scope}>", "{0.3}")
          for scope in ("rows", "columns")]
TRANSFORMS = [
    ("clip_value", "clip_value_op", "{0.75}"),
    ("clip_global_norm", "clip_global_norm_op", "{3.0}"),
    ("gradient_dropout", "gradient_dropout_op", "{20000, 65536.0 / (65536.0 - 20000.0)}"),
    ("agreement", "agreement_op", "{0.75, 1e-8}"),
    ("damped", "damped_op", "{0.25}"),
    ("pulled_home", "pulled_home_op", "{0.01}"),
]
ADAM = "{1e-2, 0.9, 0.99, 1e-6, 1e-2, 1.7, 1.3}"
OPTIMIZERS = [
    ("sgd", "sgd_op<momentum_kind::none>", "{0.05, 0.0, 0.01}"),
    ("sgd with momentum", "sgd_op<momentum_kind::heavy_ball>", "{0.05, 0.9, 0.01}"),
    ("sgd with nesterov", "sgd_op<momentum_kind::nesterov>", "{0.05, 0.9, 0.01}"),
    ("adam", "adam_op", ADAM),
    ("adamw", "adamw_op", ADAM),
    ("sign", "sign_op", "{0.01}"),
    ("no_step", "no_step", "{0.3}"),
]
NUMBERS = ["float, float"] * 4 + ["double, double"] * 2 + ["float, narrow"]


def proximal(penalty):
    name, kind, value = penalty
    return f"proximal {name}", f"proximal_op<{kind}>", "{" + value + "}"


def draw_penalties(random_source):
    chosen = [proximal(p) if random_source.random() < 0.4 else p
              for p in random_source.sample(ELEMENT_PENALTIES, random_source.choice([0, 0, 1, 1, 2]))]
    groups = random_source.sample(GROUPS, random_source.choice([0, 0, 1, 1, 2]))
    if groups and random_source.random() < 0.5:
        # A tensor carries one prox over groups.
        at = random_source.randrange(len(groups))
        groups[at] = proximal(groups[at])
    chosen += groups
    random_source.shuffle(chosen)
    return chosen


def draw(seed, count):
    """First every map with a step that reads no gradient, then every transform with it, then at will."""
    source = random.Random(seed)
    rows = proximal(GROUPS[0])
    fixed = [(m, [rows], [], OPTIMIZERS[-1], NUMBERS[i % 2 * 4]) for i, m in enumerate(MAPS[1:])]
    fixed += [(source.choice(MAPS), [rows], [t], OPTIMIZERS[-1], NUMBERS[0]) for t in TRANSFORMS]
    while len(fixed) < count:
        transforms = source.sample(TRANSFORMS, source.choice([0, 1, 1, 2]))
        fixed.append((source.choice(MAPS), draw_penalties(source), transforms, source.choice(OPTIMIZERS),
                      source.choice(NUMBERS)))
    return fixed[:count]


def text_of(composition):
    weight_map, penalties, transforms, optimizer, numbers = composition
    names = [", ".join(p[0] for p in part) or "none" for part in (penalties, transforms)]
    return f"{weight_map[0]}; penalties {names[0]}; transforms {names[1]}; {optimizer[0]}; {numbers}"


def code_of(index, composition):
    weight_map, penalties, transforms, optimizer, numbers = composition
    lines = [f"namespace {{ struct map_{index} : {weight_map[1]} {{}}; }}",
             f"static bool composition_{index}() {{",
             f"    using rule = tensor_rule<map_{index}, flat_tuple<{', '.join(p[1] for p in penalties)}>, "
             f"flat_tuple<{', '.join(t[1] for t in transforms)}>>;",
             "    rule r{};"]
    if weight_map[2]:
        lines.append(f"    r.map = {{{weight_map[2]}}};")
    lines += [f"    get<{i}>(r.penalties) = {p[2]};" for i, p in enumerate(penalties)]
    lines += [f"    get<{i}>(r.transforms) = {t[2]};" for i, t in enumerate(transforms)]
    with_bodies = "true" if index % 6 == 0 or "narrow" in numbers else "false"
    lines += [f"    return agrees<{with_bodies}, {numbers}>(\"{index}: {text_of(composition)}\",",
              f"        {optimizer[1]}{optimizer[2]}, r);",
              "}", ""]
    return "\n".join(lines)


def write_if_new(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", default="20240612", help="a number, or `date` for that of today (20240612)")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--output", type=pathlib.Path, help="without it the compositions are listed")
    options = parser.parse_args()
    if options.seed != "date" and not options.seed.isdigit():
        parser.error(f"--seed takes a number or `date`, not {options.seed!r}")
    if options.count < 1 or options.files < 1:
        parser.error("--count and --files are at least 1")
    seed = int(datetime.date.today().strftime("%Y%m%d") if options.seed == "date" else options.seed)
    compositions = draw(seed, options.count)
    said = f"{options.count} compositions of seed {seed}"
    print(said)
    if options.output is None:
        for index, composition in enumerate(compositions):
            print(f"{index}: {text_of(composition)}")
        return 0

    options.output.mkdir(parents=True, exist_ok=True)
    head = "// Written by compositions.py.\n"
    for f in range(options.files):
        own = range(f, options.count, options.files)
        text = head + "#include <isa/composition.hpp>\n\nnamespace isa {\n\n"
        text += "\n".join(code_of(i, compositions[i]) for i in own)
        text += f"\nint compositions_{f}() {{\n    return 0"
        text += "".join(f" + !composition_{i}()" for i in own) + ";\n}\n\n} // namespace isa\n"
        write_if_new(options.output / f"compositions_{f}.cpp", text)
    text = head + "#include <isa/parts.hpp>\n\n#include <cstdio>\n\nnamespace isa {\n\n"
    text += "".join(f"int compositions_{f}();\n" for f in range(options.files))
    text += f"\nint compositions() {{\n    std::printf(\"{said}\\n\");\n    return 0"
    text += "".join(f" + compositions_{f}()" for f in range(options.files)) + ";\n}\n\n} // namespace isa\n"
    write_if_new(options.output / "compositions.cpp", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
