#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains published mechanisms on the bundled real data, each against a line that was fixed before, and writes what came out
# to docs/mechanisms.md.
#
#   scripts/methods.sh [--seeds N] [NAME...]
#
#   --seeds N    trainings of everything; without it what each program says
#   NAME         programs of examples/methods, without .cpp; without any, all that there are
#
# Installs what is missing from Debian. One thread; a few CPU minutes at most.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

seeds=()
names=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --seeds)
      [[ $# -gt 1 && $2 =~ ^[1-9][0-9]*$ ]] || stop "--seeds needs a number"
      seeds=(--seeds "$2")
      shift
      ;;
    -h | --help)
      sed -n '3,11s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    -*) stop "unknown argument '$1' (see --help)" ;;
    *)
      [[ -e $root/examples/methods/$1.cpp ]] || stop "there is no program examples/methods/$1.cpp"
      names+=("$1")
      ;;
  esac
  shift
done
if [[ ${#names[@]} -eq 0 ]]; then
  for source in "$root"/examples/methods/*.cpp; do
    names+=("$(basename -- "$source" .cpp)")
  done
fi

install_missing "${packages[@]}" python3
check_compiler
# One of its compilers, and what its build leaves, in MB.
check_room 300 1500
# Without tests, unless an earlier scripts/test.sh has set them up here.
grep -qs '^ESPALIER_TESTS:BOOL=ON' "$root/build/release/CMakeCache.txt" || settings=("${without_tests[@]}")
configure release ${settings+"${settings[@]}"}
build release "${names[@]/#/methods_}"

out=$root/out/methods
mkdir -p "$out"
cd "$root"
files=()
for name in "${names[@]}"; do
  say "$name"
  files+=("$out/$name.json")
  build/release/examples/"methods_$name" ${seeds+"${seeds[@]}"} --json "$out/$name.json" ||
    stop "$name failed with status $? (its words are above)"
done
python3 scripts/lib/methods.py take "${files[@]}" || stop "docs/mechanisms.md could not be written"
say "Written: docs/mechanisms.md"
