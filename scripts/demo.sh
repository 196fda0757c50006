#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing from Debian, builds the demo, trains on the bundled real data, prints the table and writes the
# pictures to out/demo. Arguments go to the demo: scripts/demo.sh --help lists them. Can be run again cheaply.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

install_missing "${packages[@]}"
check_compiler
# One of its compilers, and what its build leaves, in MB.
check_room 300 1500
# Without tests, unless an earlier scripts/test.sh has set them up here.
grep -qs '^ESPALIER_TESTS:BOOL=ON' "$root/build/release/CMakeCache.txt" || settings=("${without_tests[@]}")
configure release ${settings+"${settings[@]}"}
build release espalier_demo

# A later --output among the arguments replaces this one.
out=$root/out/demo
given=("$@")
for ((i = 0; i < ${#given[@]}; ++i)); do
  case ${given[i]} in
    --output) out=${given[i + 1]-$out} ;;
    --output=*) out=${given[i]#*=} ;;
  esac
done
cd "$root"
mkdir -p "$out"
say "Training; results go to $out"
build/release/examples/espalier_demo --output "$out" "$@" || stop "the demo failed with status $? (its words are above)"

# Without gnuplot it says so, and the numbers are there all the same.
if compgen -G "$out/*_curves.csv" >/dev/null; then scripts/charts.sh "$out" || true; fi
shopt -s nullglob
if command -v dot >/dev/null; then
  for graph in "$out"/*.dot; do
    dot -Tsvg "$graph" -o "${graph%.dot}.svg" || stop "Graphviz could not draw $graph"
  done
fi
pictures=("$out"/*.svg "$out"/*.png)
if [[ ${#pictures[@]} -eq 0 ]]; then
  say "The demo is done"
else
  say "The demo is done; its pictures:"
  printf '%s\n' "${pictures[@]}"
fi
