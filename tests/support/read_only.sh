#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# In front of a compiler's command line: the source is read and everything in it instantiated, and no code is made. The
# object that is named by -o is empty.
set -euo pipefail
"$@" -fsyntax-only
while [[ $1 != -o ]]; do shift; done
: >"$2"
