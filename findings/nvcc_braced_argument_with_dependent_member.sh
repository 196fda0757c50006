#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-29 with nvcc 13.0.88 (PyPI) in front of a g++ of C++20; 13.5.37 no longer does it.
#
# Expected: a function that takes std::initializer_list is called from a template, by its qualified name, with a list in
# braces, and it makes no difference whether the list names a variable or a member of one, nor whether the member's object
# depends on a template parameter. g++ alone takes all of them.
#
# Behaviour: where the list names a member of an object whose type depends on a template parameter, nvcc hands its host
# compiler the list in parentheses, which is a statement expression there: "expected ';' before '}'". With a plain variable
# in the list and with a list that has its type in front the same program compiles.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

program() { # ARGUMENT OF THE CALL
  cat <<SOURCE
#include <initializer_list>
struct part {
    part(char const*) {}
    part(long) {}
};
using parts = std::initializer_list<part>;
namespace text {
void report(parts) {}
} // namespace text
template <class T> struct view { T* data; long rows; };
template <class T> void look(view<T> x) {
    long const rows = x.rows;
    (void)rows;
    text::report($1);
}
int main() { look(view<float>{nullptr, 3}); }
SOURCE
}

changed=0
for version in 13.0.88 13.5.37; do
  packages=(nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime)
  python3 -m venv "venv-$version"
  "venv-$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "${packages[@]/%/==$version}"
  home=$(echo "venv-$version"/lib/python3*/site-packages/nvidia/cu13)
  compiles() { # NAME ARGUMENT
    program "$2" >"$1.cu"
    "$home/bin/nvcc" -std=c++20 -arch=sm_90 -I "$home/include" -c "$1.cu" -o "$1.o" >"$1.log" 2>&1
  }
  program '{"rows", x.rows}' >plain.cpp
  g++ -std=c++20 -c plain.cpp -o plain.o
  if compiles member '{"rows", x.rows}'; then
    echo "nvcc $version: {\"rows\", x.rows} compiles"
    [[ $version == 13.5.37 ]] || changed=1
  else
    echo "nvcc $version: {\"rows\", x.rows} is refused: $(grep -m 1 error member.log)"
    [[ $version == 13.0.88 ]] || changed=1
  fi
  for form in 'variable:{"rows", rows}' 'typed:parts{"rows", x.rows}'; do
    if compiles "${form%%:*}" "${form#*:}"; then
      echo "nvcc $version: ${form#*:} compiles"
    else
      echo "nvcc $version: ${form#*:} is refused: $(tail -n 2 "${form%%:*}.log")"
      changed=1
    fi
  done
done
exit "$changed"
