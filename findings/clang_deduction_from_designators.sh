#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with Clang 19.1.7 and 22.1.8 (PyPI: ziglang 0.14.1 and 0.17.1) in C++20; Debian 12's Clang 19.1.7 says the
# same.
#
# Expected: options as an aggregate whose template arguments are deduced from a list with names, options{.rate = 0.1,
# .momentum = 0.9}, are the same object wherever they stand. Nothing in the list depends on a template parameter, so a
# function template around it changes nothing.
#
# Behaviour: in a function template or a generic lambda, where that list is an argument or the initializer of an object,
# the deduction is done once more when the template is instantiated, of a list that has lost its numbers. The object then
# has the default types and default values: neither the rate nor the momentum that were written. A warning that names
# another thing ("initializer overrides prior initialization") is all that is said. With the template arguments written
# out, or outside of templates, the numbers are there. GCC gives them everywhere.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >program.cpp <<'SOURCE'
#include <cstdio>
#include <type_traits>

struct none {};
template <class Rate = double, class Momentum = none> struct options {
    Rate rate = 0.01;
    Momentum momentum{};
};

// Takes the options as they are, as a trainer would.
template <class Network, class Options> struct training {
    training(Network&, Options given) {
        if constexpr (std::is_same_v<Options, options<double, double>>)
            std::printf("rate %g momentum %g\n", given.rate, given.momentum);
        else
            std::printf("rate %g no momentum\n", given.rate);
    }
};

template <class Network> void in_a_template(Network network) {
    std::printf("deduced in a template: ");
    training deduced(network, options{.rate = 0.1, .momentum = 0.9});
    std::printf("written out in a template: ");
    training written(network, options<double, double>{.rate = 0.1, .momentum = 0.9});
}

int main() {
    int network = 0;
    in_a_template(network);
    std::printf("deduced in no template: ");
    training plain(network, options{.rate = 0.1, .momentum = 0.9});
}
SOURCE

right="rate 0.1 momentum 0.9"
changed=0
# compare WHO WHAT-THE-TEMPLATE-DEDUCES
compare() {
  local expected
  printf '%s:\n' "$1"
  ./program | sed 's/^/  /'
  expected=$(printf 'deduced in a template: %s\nwritten out in a template: %s\ndeduced in no template: %s' "$2" "$right" "$right")
  [[ $(./program) == "$expected" ]] || changed=1
}

g++ -std=c++20 program.cpp -o program
compare "GCC $(g++ -dumpfullversion)" "$right"
for version in 0.14.1 0.17.1; do
  python3 -m venv "venv-$version"
  "venv-$version/bin/python" -m pip install --quiet --disable-pip-version-check "ziglang==$version"
  "venv-$version/bin/python" -m ziglang c++ -w -std=c++20 program.cpp -o program
  compare "$("venv-$version/bin/python" -m ziglang c++ --version | head -n 1 | cut -d' ' -f1-3)" "rate 0.01 no momentum"
done
exit "$changed"
