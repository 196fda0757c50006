# SPDX-License-Identifier: Apache-2.0
"""What the peers share: a process that holds compiled cases and times one of them whenever a line on standard input
names it, so that a driver can alternate it with other programs.

In:  CASE                 Out: {"case": CASE, "peer": NAME, "forms": {FORM: median ns}, "failed": {FORM: TEXT}}
In:  end of file          the process ends
The first line out is {"peer": NAME, "version": TEXT, "cases": [...]}.
Times are CPU time of the process, which is held to one core: JAX computes in a thread of its own.
"""

import json
import sys
import time


def measure(call, seconds=0.4):
    """Median ns of one call: batches of calls long enough for the clock, and few of those that take half a second."""
    for _ in range(3):
        start = time.process_time()
        call()
        once = max(time.process_time() - start, 1e-7)
        if once > 0.5:
            break
    fewest = 3 if once > 0.5 else 5
    batch = max(1, int(1e-3 / once))
    times = []
    begin = time.process_time()
    while len(times) < 15 or time.process_time() - begin < seconds:
        start = time.process_time()
        for _ in range(batch):
            call()
        times.append((time.process_time() - start) / batch)
        if len(times) >= 400 or (len(times) >= fewest and time.process_time() - begin > 2.0):
            break
    times.sort()
    return 1e9 * times[len(times) // 2]


def serve(name, version, variants):
    """variants: {"family/case": {form: function that makes the call}}; the fastest form of a case is what counts, so a
    peer is never represented by a weaker one."""
    print(json.dumps({"peer": name, "version": version, "cases": sorted(variants)}), flush=True)
    calls = {}
    for line in sys.stdin:
        case = line.strip()
        if not case:
            continue
        failed = {}
        if case not in calls:
            calls[case] = {}
            for form, make in variants[case].items():
                try:
                    call = make()
                    call()
                    calls[case][form] = call
                except Exception as error:  # a form that cannot do a case says so, and the others go on
                    failed[form] = repr(error)[:300]
        times = {form: measure(call) for form, call in calls[case].items()}
        print(json.dumps({"case": case, "peer": name, "forms": times, "failed": failed}), flush=True)
