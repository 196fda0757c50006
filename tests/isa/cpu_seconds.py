#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command and says how many CPU seconds it and what it started took."""
import resource
import subprocess
import sys

status = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{used.ru_utime + used.ru_stime:.0f} CPU seconds")
sys.exit(status)
