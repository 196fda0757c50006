#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with nvcc 13.0.88 and 13.5.37 (PyPI) in front of a g++ of C++20, in host code alone; no GPU is needed.
#
# Expected: in a file that nvcc compiles, `x = {.first = 1, .fourth = 2}` in a template sets the members that it names, as
# it does where the same file is plain C++: designated initializers are C++20, which nvcc takes.
#
# Behaviour: where the type of x depends on a template parameter, nvcc hands its host compiler the list without the names.
# The second number then lands in the second member, without a word where the types allow it; the compiler refuses only
# what would narrow. Outside templates, as an initializer, as an argument, behind `return` and with the type written in
# front of the list the names stay.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >program.cu <<'SOURCE'
#include <cstdio>

struct record {
    double first = 0, second = 0, third = 0, fourth = 0;
};

template <class R> R initialized(double x) {
    R r{.first = x, .fourth = 2 * x};
    return r;
}
template <class R> R returned(double x) { return {.first = x, .fourth = 2 * x}; }
template <class R> R assigned_with_type(double x) {
    R r;
    r = R{.first = x, .fourth = 2 * x};
    return r;
}
template <class R> R assigned(double x) {
    R r;
    r = {.first = x, .fourth = 2 * x};
    return r;
}
record assigned_in_no_template(double x) {
    record r;
    r = {.first = x, .fourth = 2 * x};
    return r;
}

void show(char const* name, record r) { std::printf("%s: %g %g %g %g\n", name, r.first, r.second, r.third, r.fourth); }

int main() {
    show("initialized", initialized<record>(1));
    show("returned", returned<record>(1));
    show("assigned with type", assigned_with_type<record>(1));
    show("assigned", assigned<record>(1));
    show("assigned in no template", assigned_in_no_template(1));
}
SOURCE

changed=0
# SAID-BY LINE...: what every form but the last prints must be 1 0 0 2.
compare() {
  local who=$1 file=$2 expected=$3
  local others
  others=$(grep -v '^assigned:' "$file" | grep -vc ': 1 0 0 2$' || true)
  echo "$who: $(grep '^assigned:' "$file"); of the other forms $others differ from 1 0 0 2"
  [[ $others == 0 && $(grep '^assigned:' "$file") == "assigned: $expected" ]] || changed=1
}

g++ -std=c++20 -x c++ program.cu -o plain
./plain >plain.txt
compare "g++ alone" plain.txt "1 0 0 2"
for version in 13.0.88 13.5.37; do
  packages=(nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime)
  python3 -m venv "venv-$version"
  "venv-$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "${packages[@]/%/==$version}"
  home=$(echo "venv-$version"/lib/python3*/site-packages/nvidia/cu13)
  "$home/bin/nvcc" -std=c++20 -arch=sm_90 -I "$home/include" -L "$home/lib" program.cu -o "program-$version"
  "./program-$version" >"$version.txt"
  compare "nvcc $version" "$version.txt" "1 2 0 0"
done
exit "$changed"
