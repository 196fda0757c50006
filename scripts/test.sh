#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing from Debian, builds everything and runs all tests, the unit tests optimised and under the
# address and undefined-behaviour sanitizers (some there alone). Can be run again cheaply.
#
#   scripts/test.sh [--quick [--since REV] [--seed N]] [--no-sanitizers] [--no-cuda] [--clang] [--every-isa]
#                   [--strict | --no-strict] [--help]
#
#   --quick          builds and runs what depends on files that differ from REV (default: where this branch left
#                    origin/main, or main), with a sample of the rest drawn by the seed N; for work in progress, in
#                    folders that a whole run has built before
#   --no-sanitizers  leaves that second build out: then all unit tests are in the first one
#   --no-cuda        leaves the CUDA part out even when nvcc is there
#   --clang          after these, builds the unit tests with Debian's Clang 19 too (installed when it is missing) and
#                    runs them and the tests of error messages with it
#   --every-isa      after these, builds the unit tests for the baseline, for AVX2 and for AVX-512 too, and runs those
#                    that the processor can
#   --strict         a warning of the compiler is an error; the default with CI=true, which --no-strict takes back
#
# With nvcc every .cu is compiled as well (sm_90, or what CUDAARCHS says), and the tests of the CUDA part run, programs on
# a stand-in for CUDA's runtime; those that need a GPU are skipped where there is none. The summary names every skipped
# test. With CI=true a skip is a failure, but for tests that need a GPU and files that say that nvcc cannot check them.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

# What a whole run leaves in build/, and the largest compiler, in MB.
disk_megabytes=3000
memory_megabytes=1800

quick=no
since=
seed=
sanitizers=yes
cuda=yes
clang=no
every_isa=no
strict=$([[ ${CI-} == true ]] && echo yes || echo no)
while [[ $# -gt 0 ]]; do
  case $1 in
    --quick) quick=yes ;;
    --since | --seed)
      [[ $# -gt 1 ]] || stop "$1 needs a value (see --help)"
      declare "${1#--}=$2"
      shift
      ;;
    --no-sanitizers) sanitizers=no ;;
    --no-cuda) cuda=no ;;
    --clang) clang=yes ;;
    --every-isa) every_isa=yes ;;
    --strict) strict=yes ;;
    --no-strict) strict=no ;;
    -h | --help)
      sed -n '3,22s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) stop "unknown argument '$1' (see --help)" ;;
  esac
  shift
done
[[ $quick == yes || -z $since$seed ]] || stop "--since and --seed belong to --quick (see --help)"
[[ -z $seed || $seed =~ ^[0-9]+$ ]] || stop "the seed '$seed' is no number"

results=()
failed_steps=()
passed=0
failed=0
skipped=0
skips=()

# run_tests STEP PRESET CTEST-ARGUMENT...; failures are counted, and the following steps still run.
run_tests() {
  local step=$1 preset=$2 status=0 junit name reason needs_gpu
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
    needs_gpu=$(cd "$root/build/$preset" && ctest -N -L '^gpu$' | sed -nE 's/^ *Test +#[0-9]+: (.*)$/\1/p')
    while IFS=$'\t' read -r name reason; do
      skips+=("$name: $reason")
      if [[ ${CI-} == true ]] && ! skip_is_expected "$name" "$needs_gpu"; then
        say "$name was skipped, which is a failure here (CI=true): $reason"
        bad=$((bad + 1))
        left=$((left - 1))
        status=1
      fi
    done < <(skipped_tests "$junit")
  fi
  # A run that ended badly without a failed test (none found, ctest itself stopped) still counts as a failure.
  if [[ $status -ne 0 && $bad -eq 0 ]]; then
    bad=1
    tests=$((tests + 1))
  fi
  passed=$((passed + tests - bad - left))
  failed=$((failed + bad))
  skipped=$((skipped + left))
  results+=("$step: $((tests - bad - left)) passed, $bad failed, $left skipped")
  if [[ $status -ne 0 ]]; then failed_steps+=("$step"); fi
}

# A part that is left out although nobody asked for that.
part_is_missing() {
  say "$1: $2"
  skips+=("$1: $2")
  if [[ ${CI-} == true ]]; then
    failed=$((failed + 1))
    failed_steps+=("$1")
    results+=("$1: left out, which is a failure here (CI=true)")
  fi
}

test_release() {
  configure release "${settings[@]}" "${with_tests[@]}" "${once[@]}" -DESPALIER_TEST_PYTHON="$test_python"
  build release all
  build_ahead release espalier_headers_check espalier_isa_check
  run_tests "release build" release
}

test_cuda() {
  if ! command -v nvcc >/dev/null; then
    PATH=$PATH:/usr/local/cuda/bin
  fi
  configure cuda "${settings[@]}" -DESPALIER_PROGRAMS_AT_O1=ON
  build_ahead cuda espalier_cuda
  run_tests "CUDA" cuda -L 'cuda|gpu'
}

# The sanitizers of Clang 19 and of GCC find the same, and Clang compiles the tests in half of the time. Where
# CXX names a compiler, or there is no such Clang, the sanitizers are those of the one that builds the rest.
choose_sanitizers() {
  local wanted=(clang-19 libclang-rt-19-dev llvm-19)
  sanitizers_compiler=
  if [[ -n ${CXX-} ]]; then return 0; fi
  if command -v apt-cache >/dev/null && apt-cache show "${wanted[@]}" >/dev/null 2>&1; then
    install_missing "${wanted[@]}"
    sanitizers_compiler=$(command -v clang++-19)
  else
    say "There is no package clang-19: the sanitizers are those of $(command -v c++)"
  fi
}

test_sanitizers() {
  local cache=$root/build/asan/CMakeCache.txt before=
  if [[ -e $cache ]]; then before=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$cache"); fi
  # CMake forgets all other settings of a folder whose compiler changes.
  if [[ -n $before && -n $sanitizers_compiler && $before != "$sanitizers_compiler" ]]; then rm -rf "$root/build/asan"; fi
  configure asan "${settings[@]}" ${sanitizers_compiler:+-DCMAKE_CXX_COMPILER="$sanitizers_compiler"}
  build asan espalier_tests
  run_tests "address and undefined-behaviour sanitizers" asan -L unit
}

test_clang() {
  check_compiler clang++-19
  configure clang "${settings[@]}"
  build clang espalier_tests
  run_tests "Clang" clang -L 'unit|compile_fail'
}

test_every_isa() {
  configure release "${settings[@]}" -DESPALIER_EVERY_ISA=ON
  build release espalier_every_isa
  run_tests "every instruction set" release -L every_isa
}

if [[ $clang == yes ]]; then packages+=(clang-19); fi
install_missing "${packages[@]}" "${test_packages[@]}" doxygen
if [[ $sanitizers == yes && $quick == no ]]; then choose_sanitizers; fi
check_compiler
check_room "$disk_megabytes" "$memory_megabytes"
settings=(-DESPALIER_WARNINGS_AS_ERRORS="$([[ $strict == yes ]] && echo ON || echo OFF)")
# Programs are run and not measured, and what the sanitizers' build tests is not compiled twice.
once=(-DESPALIER_PROGRAMS_AT_O1=ON -DESPALIER_SANITIZED_ELSEWHERE="${sanitizers/yes/ON}")
if [[ $quick == yes ]]; then
  configure release "${settings[@]}" "${with_tests[@]}" "${once[@]}"
  exec python3 "$root/scripts/lib/quick.py" --root "$root" --jobs "$(jobs)" ${since:+--since "$since"} \
    ${seed:+--seed "$seed"}
fi
python_environment

steps_left=("release build")
if [[ $cuda == yes ]]; then
  if has_nvcc; then steps_left+=("CUDA"); else part_is_missing "CUDA" "nvcc is not installed"; fi
fi
if [[ $sanitizers == yes ]]; then steps_left+=("sanitizers"); fi
if [[ $clang == yes ]]; then steps_left+=("Clang"); fi
if [[ $every_isa == yes ]]; then steps_left+=("every instruction set"); fi
began=$SECONDS
while [[ ${#steps_left[@]} -ne 0 ]]; do
  case ${steps_left[0]} in
    "release build") take_step test_release ;;
    CUDA) take_step test_cuda ;;
    sanitizers) take_step test_sanitizers ;;
    Clang) take_step test_clang ;;
    *) take_step test_every_isa ;;
  esac
done

say "Summary after $(duration $((SECONDS - began)))"
printf '%s\n' "${results[@]}"
if [[ ${#skips[@]} -ne 0 ]]; then printf 'skipped: %s\n' "${skips[@]}"; fi
if [[ ${#failed_steps[@]} -ne 0 ]]; then
  printf 'FAILED in: %s\n' "$(printf '%s; ' "${failed_steps[@]}")"
fi
printf 'total: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[[ ${#failed_steps[@]} -eq 0 ]]
