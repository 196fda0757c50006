#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing from Debian, builds everything and runs all tests, the unit tests a second time under the
# address and undefined-behaviour sanitizers. Can be run again cheaply.
#
#   scripts/test.sh [--no-sanitizers] [--no-cuda] [--clang] [--strict] [--help]
#
#   --no-sanitizers  leaves the second run of the unit tests out, and the build that it needs
#   --no-cuda        leaves the CUDA part out even when nvcc is there
#   --clang          after these, builds the unit tests with Debian's Clang 19 too (installed when it is missing) and
#                    runs them and the tests of error messages with it
#   --strict         a warning of a compiler is an error, as in continuous integration
#
# With nvcc every .cu is compiled as well (sm_90, or what CUDAARCHS says), and the tests of the CUDA part run; those that
# need a GPU are skipped where there is none.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

sanitizers=yes
cuda=yes
clang=no
strict=OFF
for argument in "$@"; do
  case $argument in
    --no-sanitizers) sanitizers=no ;;
    --no-cuda) cuda=no ;;
    --clang) clang=yes ;;
    --strict) strict=ON ;;
    -h | --help)
      sed -n '3,16s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) stop "unknown argument '$argument' (see --help)" ;;
  esac
done

steps=()
failed_steps=()
passed=0
failed=0
skipped=0

# run_tests STEP PRESET CTEST-ARGUMENT...; failures are counted, and the following steps still run.
run_tests() {
  local step=$1 preset=$2 status=0 junit
  shift 2
  say "Testing: $step"
  junit=$root/build/junit-$preset.xml
  rm -f "$junit"
  (cd "$root/build/$preset" && ctest --output-on-failure --parallel "$(jobs)" --no-tests=error \
    --output-junit "$junit" "$@") || status=$?
  local tests=0 bad=0 left=0
  if [[ -s $junit ]]; then
    tests=$(sed -nE 's/^[[:space:]]*tests="([0-9]+)".*/\1/p' "$junit" | head -n 1)
    bad=$(sed -nE 's/^[[:space:]]*failures="([0-9]+)".*/\1/p' "$junit" | head -n 1)
    left=$(sed -nE 's/^[[:space:]]*skipped="([0-9]+)".*/\1/p' "$junit" | head -n 1)
  fi
  # A run that ended badly without a failed test (none found, ctest itself stopped) still counts as a failure.
  if [[ $status -ne 0 && $bad -eq 0 ]]; then
    bad=1
    tests=$((tests + 1))
  fi
  passed=$((passed + tests - bad - left))
  failed=$((failed + bad))
  skipped=$((skipped + left))
  steps+=("$step: $((tests - bad - left)) passed, $bad failed, $left skipped")
  if [[ $status -ne 0 ]]; then failed_steps+=("$step"); fi
}

if [[ $clang == yes ]]; then packages+=(clang-19); fi
install_missing "${packages[@]}"

configure release -D ESPALIER_WARNINGS_AS_ERRORS=$strict
build release all
build_ahead release espalier_headers_check
run_tests "release build" release

if [[ $cuda == yes ]] && has_nvcc; then
  if ! command -v nvcc >/dev/null; then
    PATH=$PATH:/usr/local/cuda/bin
  fi
  configure cuda -D ESPALIER_WARNINGS_AS_ERRORS=$strict
  build_ahead cuda espalier_cuda
  run_tests "CUDA" cuda -L 'cuda|gpu'
else
  say "Without CUDA: $([[ $cuda == no ]] && echo 'left out as asked' || echo 'nvcc is not installed')"
fi

if [[ $sanitizers == yes ]]; then
  configure asan -D ESPALIER_WARNINGS_AS_ERRORS=$strict
  build asan espalier_tests
  run_tests "address and undefined-behaviour sanitizers" asan -L unit
fi

if [[ $clang == yes ]]; then
  configure clang -D ESPALIER_WARNINGS_AS_ERRORS=$strict
  build clang espalier_tests
  run_tests "Clang" clang -L 'unit|compile_fail'
fi

say "Summary"
printf '%s\n' "${steps[@]}"
if [[ ${#failed_steps[@]} -ne 0 ]]; then
  printf 'FAILED in: %s\n' "$(printf '%s; ' "${failed_steps[@]}")"
fi
printf 'total: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[[ ${#failed_steps[@]} -eq 0 ]]
