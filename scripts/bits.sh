#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# For those who rearrange the inside of the library: trains many small stacks that between them use every policy, and
# compares hashes of what comes out with a committed table, so that a change which is to change no result is seen to.
#
#   scripts/bits.sh [--write] [TABLE]
#
#   --write  writes the table instead: after a change of results that is meant, or before a rearrangement
#   TABLE    a file; default tests/bits/gcc-12.txt, of g++ 12.2 on Debian 12. Bits depend on the compiler and on the C
#            library: elsewhere write a table of your own before the change, and compare with that.
#
# About four minutes of compiling on one core. No part of scripts/test.sh.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

action=--compare
table=
while [[ $# -gt 0 ]]; do
  case $1 in
    --write) action=--write ;;
    -h | --help)
      sed -n '3,12s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    -*) stop "unknown argument '$1' (see --help)" ;;
    *)
      [[ -z $table ]] || stop "two tables were given, '$table' and '$1' (see --help)"
      table=$(realpath -m -- "$1")
      ;;
  esac
  shift
done
[[ $action == --write || -z $table || -f $table ]] || stop "there is no table '$table': --write makes one"

install_missing "${packages[@]}" "${test_packages[@]}"
configure release "${with_tests[@]}"
if [[ -z $table ]]; then
  compiler=$(sed -nE 's/^set\(CMAKE_CXX_COMPILER_(ID|VERSION) "(.*)"\)$/\2/p' \
    "$root"/build/release/CMakeFiles/*/CMakeCXXCompiler.cmake | paste -sd ' ')
  [[ $compiler == "GNU 12."* ]] ||
    stop "the committed table is of GCC 12 and build/release is made with $compiler: write a table of your own before
  the change (scripts/bits.sh --write FILE) and compare with that after it (scripts/bits.sh FILE)"
  table=$root/tests/bits/gcc-12.txt
fi
build release espalier_bits

if [[ $action == --write ]]; then
  "$root/build/release/tests/bits/espalier_bits" --write "$table"
  say "Written: $table"
else
  say "Comparing with $table"
  "$root/build/release/tests/bits/espalier_bits" --compare "$table" ||
    stop "not every result has the bits of the table (above: the stacks and what of them differs)"
  say "Every result has the bits of the table"
fi
