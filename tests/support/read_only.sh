#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In front of a compiler's command: it reads the file, with all that it has to say, and writes no code; the object is empty.
"$@" -fsyntax-only || exit
while [ "$1" != -o ]; do shift; done
: >"$2"
