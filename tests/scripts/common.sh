#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests scripts/lib/common.sh and what scripts/test.sh says to bad input. Nothing is installed or built: programs that
# only pretend stand in front of PATH, and the scripts are copied to a folder of their own.
set -uo pipefail
source_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/stubs" "$work/project/tests/python"
cp -r "$source_root/scripts" "$work/project/scripts"
cp "$source_root/CMakeLists.txt" "$work/project/"
cp "$source_root/tests/python/requirements.txt" "$work/project/tests/python/"
unset CI CXX ESPALIER_JOBS ESPALIER_LOCK_SECONDS
PATH=$work/stubs:$PATH
bad=0

# stub NAME: a program NAME of what is read from standard input.
stub() {
  { echo '#!/bin/bash'; cat; } >"$work/stubs/$1"
  chmod +x "$work/stubs/$1"
}
# functions SCRIPT: runs it after sourcing the functions.
functions() {
  bash -c "set -euo pipefail; . '$work/project/scripts/lib/common.sh'; $1" common.sh 2>&1 </dev/null
}
# expect NAME STATUS TEXT COMMAND...: COMMAND ends with STATUS and says TEXT.
expect() {
  local name=$1 status=$2 text=$3 output got=0
  shift 3
  output=$("$@") || got=$?
  if [[ $got -ne $status || $output != *"$text"* ]]; then
    printf '%s: expected status %s and "%s", got status %s and:\n%s\n' "$name" "$status" "$text" "$got" "$output"
    bad=1
  fi
}
test_sh() { bash "$work/project/scripts/test.sh" "$@" 2>&1 </dev/null; }

# ---- arguments of test.sh
expect "unknown option" 1 "unknown argument '--fast'" test_sh --fast
expect "no value" 1 "--since needs a value" test_sh --quick --since
expect "seed of no quick run" 1 "belong to --quick" test_sh --seed 3
expect "seed that is no number" 1 "the seed 'x' is no number" test_sh --quick --seed x
expect "help" 0 "--every-isa" test_sh --help
expect "the end of the help" 0 "that nvcc cannot check them" test_sh --help
expect "no more than the help" 0 "" bash -c "! bash $work/project/scripts/test.sh --help | grep -q shellcheck"

# ---- arguments of methods.sh
methods_sh() { bash "$work/project/scripts/methods.sh" "$@" 2>&1 </dev/null; }
expect "unknown option of methods" 1 "unknown argument '--fast'" methods_sh --fast
expect "no number of seeds" 1 "--seeds needs a number" methods_sh --seeds many
expect "no such program" 1 "there is no program examples/methods/none.cpp" methods_sh none
expect "help of methods" 0 "trainings of everything" methods_sh --help

# ---- apt's locks: two attempts find a lock, the third one succeeds; nothing waits in earnest
stub sleep <<<':'
stub apt-get <<EOF
case " \$* " in *" update "*) kind=lists ;; *) kind=dpkg ;; esac
n=\$(cat $work/\$kind 2>/dev/null || echo 0)
echo \$((n + 1)) >$work/\$kind
if ((n < 2)); then
  if [[ \$kind == lists ]]; then
    echo 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 12 (apt-get)' >&2
  else
    echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12 (unattended-upgr)' >&2
  fi
  exit 100
fi
echo "done: \$*"
EOF
stub dpkg-query <<<'exit 1'
stub id <<<'echo 0'
expect "lock of the lists" 0 "Waiting up to 600 s for another process that works with apt: Could not get lock /var/lib/apt/lists/lock" \
  functions 'install_missing cmake'
expect "lock of dpkg" 0 "held by process 12 (unattended-upgr)" functions "rm $work/dpkg; install_missing cmake"
rm -f "$work/lists" "$work/dpkg"
expect "installed after the wait" 0 "done: -q install -y --no-install-recommends cmake" functions 'install_missing cmake'
rm -f "$work/lists"
expect "a lock that stays" 1 "another process still holds apt's lock after 0 s" \
  functions 'ESPALIER_LOCK_SECONDS=0 install_missing cmake'
stub apt-get <<<"echo 'E: Unable to locate package cmake' >&2; exit 100"
expect "another failure of apt is no lock" 1 "'apt-get update' failed" functions 'install_missing cmake'
stub dpkg-query <<<'echo "ii "'
expect "nothing is missing" 0 "All 2 Debian packages" functions 'install_missing cmake g++'
stub dpkg-query <<<'exit 1'
stub id <<<'echo 1000'
stub sudo <<<'exit 1'
expect "sudo that wants a password" 1 "sudo wants a password" functions 'install_missing cmake'
rm "$work"/stubs/{apt-get,dpkg-query,id,sudo,sleep}

# ---- compilers
expect "no compiler" 1 "there is no C++ compiler 'no-such-compiler'" functions 'CXX=no-such-compiler check_compiler'
stub old-g++ <<<'if [[ $1 == -dumpversion ]]; then echo 11; else echo "g++ 11"; fi'
expect "an old compiler" 1 "'old-g++' is GCC 11" functions 'CXX="old-g++ -m64" check_compiler'
stub old-clang <<<'if [[ $1 == -dumpversion ]]; then echo 14.0.6; else echo "clang version 14"; fi'
expect "an old Clang" 1 "'old-clang' is Clang 14.0.6" functions 'check_compiler old-clang'
stub new-g++ <<<'if [[ $1 == -dumpversion ]]; then echo 13; else echo "g++ 13"; fi'
expect "a new compiler" 0 "" functions 'check_compiler new-g++'

# ---- room
stub df <<<'printf "Filesystem 1024-blocks Used Available Capacity Mounted\nx 9 9 500000 9%% /\n"'
stub du <<<'echo "1000000 build"'
expect "too little disk" 1 "needs 2000 MB of disk" functions 'check_room 2000 1'
expect "what build holds already counts" 0 "" functions 'check_room 1500 1'
expect "too little memory" 1 "one compiler needs up to 90000000 MB of memory" functions 'check_room 1 90000000'
expect "jobs that are no number" 1 "ESPALIER_JOBS is 'many'" functions 'ESPALIER_JOBS=many check_room 1 1'
rm "$work"/stubs/{df,du}
printf 'MemTotal: 9\nMemAvailable: 3000000 kB\nSwapFree: 500000 kB\n' >"$work/meminfo"
echo 2048000000 >"$work/limit"
expect "memory and swap" 0 "3500000" functions "available_memory $work/meminfo $work/none"
expect "the limit of a container" 0 "2000000" functions "available_memory $work/meminfo $work/limit"

# ---- build folders
folder=$work/project/build/release
mkdir -p "$folder/CMakeFiles/3.25.1"
version=$(sed -nE 's/^project\(espalier VERSION ([0-9.]+).*/\1/p' "$source_root/CMakeLists.txt")
cache() { # HOME VERSION COMPILER COMPILER-VERSION
  printf 'CMAKE_HOME_DIRECTORY:INTERNAL=%s\nCMAKE_PROJECT_VERSION:STATIC=%s\nCMAKE_CXX_COMPILER:FILEPATH=%s\n' "$1" "$2" "$3" \
    >"$folder/CMakeCache.txt"
  printf 'set(CMAKE_CXX_COMPILER_VERSION "%s")\n' "$4" >"$folder/CMakeFiles/3.25.1/CMakeCXXCompiler.cmake"
}
stub some-g++ <<<'echo 13.2.0'
cache "$work/project" "$version" "$work/stubs/some-g++" 13.2.0
expect "a folder that fits" 0 "" functions 'check_build_folder release'
expect "a folder that is not there" 0 "" functions 'check_build_folder asan'
cache /somewhere/else "$version" "$work/stubs/some-g++" 13.2.0
expect "other sources" 1 "was made for the sources in /somewhere/else: remove it (rm -r build/release)" \
  functions 'check_build_folder release'
cache "$work/project" 0.0.7 "$work/stubs/some-g++" 13.2.0
expect "another version" 1 "build/release is of Espalier 0.0.7, and this is $version" functions 'check_build_folder release'
cache "$work/project" "$version" "$work/stubs/some-g++" 12.2.0
expect "another compiler" 1 "some-g++ 12.2.0, which is 13.2.0 now" functions 'check_build_folder release'
cache "$work/project" "$version" "$work/stubs/gone-g++" 12.2.0
expect "a compiler that has gone" 1 "which is not there any more" functions 'check_build_folder release'

# ---- steps
expect "time of a step" 0 "one took 0 s; left: two" functions 'steps_left=(one two); take_step true; take_step true'
expect "the last step" 0 "two took 0 s; left: nothing" functions 'steps_left=(two); take_step true'
expect "minutes" 0 "2 min 5 s" functions 'duration 125'

# ---- skipped tests
cat >"$work/junit.xml" <<'EOF'
<testsuite name="x"
	tests="4"
	failures="1"
	skipped="2"
	>
	<testcase name="python.a" classname="a" time="0" status="notrun">
		<skipped message="SKIP_RETURN_CODE=77"/>
		<system-out>begins
skipped: No module named &apos;numpy&apos; &amp; &lt;more&gt;
ends</system-out>
	</testcase>
	<testcase name="unit.b" classname="b" time="0" status="fail">
		<failure message=""/>
		<system-out>skipped is a word here</system-out>
	</testcase>
	<testcase name="gpu.c" classname="c" time="0" status="notrun">
		<skipped message="SKIP_RETURN_CODE=77"/>
		<system-out></system-out>
	</testcase>
	<testcase name="unit.d" classname="d" time="0" status="run">
		<system-out></system-out>
	</testcase>
</testsuite>
EOF
expect "reasons of skips" 0 "python.a	skipped: No module named 'numpy' & <more>
gpu.c	no reason given" functions "skipped_tests $work/junit.xml"
expect "a skip for want of a GPU" 0 "" functions 'skip_is_expected gpu.c $'"'a\ngpu.c\nd'"
expect "a file that nvcc cannot check" 0 "" functions 'skip_is_expected compile_fail.x.nvcc ""'
expect "no other skip" 1 "" functions 'skip_is_expected python.a gpu.c'
expect "no part of a name" 1 "" functions 'skip_is_expected gpu gpu.c'

# ---- a whole run of test.sh, in which ctest skips tests
printf '%s\n' 'echo 13.2.0' | stub c++
printf '%s\n' 'exit 0' | stub cmake
stub ctest <<EOF
while [[ \$# -gt 0 ]]; do
  if [[ \$1 == -N ]]; then echo '  Test  #7: gpu.c'; exit 0; fi
  if [[ \$1 == --output-junit ]]; then sed -e '/failures=/s/1/0/' $work/junit.xml >"\$2"; fi
  shift
done
EOF
printf '%s\n' 'exit 1' | stub python3
printf '%s\n' 'echo "ii "' | stub dpkg-query
printf '%s\n' ':' | stub apt-get
rm -rf "$work/project/build"
mkdir -p "$work/project/build/release"
whole() { env "$@" bash "$work/project/scripts/test.sh" --no-cuda --no-sanitizers 2>&1 </dev/null; }
expect "the summary names skips" 0 "skipped: python.a: skipped: No module named 'numpy'" whole A=1
expect "no network for the environment" 0 "build/python could not be made" whole A=1
expect "the total" 0 "total: 2 passed, 0 failed, 2 skipped" whole A=1
expect "a skip with CI=true" 1 "python.a was skipped, which is a failure here (CI=true)" whole CI=true
expect "a skip for want of a GPU with CI=true" 1 "total: 2 passed, 1 failed, 1 skipped" whole CI=true
exit "$bad"
