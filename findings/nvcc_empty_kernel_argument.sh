#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Found 2026-11-30 with nvcc 13.0.88 and 13.5.37 (PyPI); compiled only, no GPU is needed.
#
# Expected: a kernel takes an argument of any trivially copyable type. A class without members is one of them, and so is
# a class whose only member is empty, whether that member is declared [[no_unique_address]] or not: all of them have
# sizeof 1, and for the first and the last of them std::is_empty is true.
#
# Behaviour: nvcc takes the class without members, the one that inherits from it and the one with an ordinary empty
# member. With [[no_unique_address]] on the member 13.0.88 stops with "Empty parameter types are not supported", without
# a line number and without the name of the kernel; an argument that has another member beside that one is taken. 13.5.37
# takes them all.
#
# Exit 0 while this holds, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >program.cu <<'SOURCE'
#include <type_traits>

struct none {};
struct inherits : none {};
struct ordinary { none its; };
struct unique { [[no_unique_address]] none its; };
struct beside { [[no_unique_address]] none its; int more; };
static_assert(std::is_empty_v<none> && std::is_empty_v<inherits> && std::is_empty_v<unique>);
static_assert(!std::is_empty_v<ordinary> && std::is_trivially_copyable_v<unique> && sizeof(unique) == 1);

template <class T> __global__ void kernel(T, int* out) { *out = static_cast<int>(sizeof(T)); }
template __global__ void kernel<TYPE>(TYPE, int*);
SOURCE

changed=0
for version in 13.0.88 13.5.37; do
  packages=(nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime)
  python3 -m venv "venv-$version"
  "venv-$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "${packages[@]/%/==$version}"
  home=$(echo "venv-$version"/lib/python3*/site-packages/nvidia/cu13)
  for type in none inherits ordinary unique beside; do
    said=$("$home/bin/nvcc" -std=c++20 -arch=sm_90 -DTYPE="$type" -I "$home/include" -c program.cu -o program.o 2>&1) &&
      outcome=taken || outcome=refused
    echo "nvcc $version, $type: $outcome${said:+, $said}"
    if [[ $version == 13.0.88 && $type == unique ]]; then
      [[ $outcome == refused && $said == *"Empty parameter types are not supported"* ]] || changed=1
    else
      [[ $outcome == taken ]] || changed=1
    fi
  done
done
exit "$changed"
