#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the results of scripts/bench.sh --json as an SVG: for every case how many times as long the peers, the same work
by hand and the floor take, our code being 1.

  scripts/bench_chart.py RESULTS.json CHART.svg
"""

import json
import math
import sys
from xml.sax.saxutils import escape

colours = {"floor": "#9aa5b1", "by hand": "#f0a04b", "pytorch": "#d1495b", "jax": "#3b7ea1"}
left, row, width, top = 330, 15, 560, 60


def series(rows):
    """[(case, {name: ratio})] in the order of the file."""
    cases = {}
    for r in rows:
        if not r["ns"]:
            continue
        found = cases.setdefault(f"{r['family']}/{r['case']}", {})
        for name, ns in (("floor", r["floor_ns"]), ("by hand", r["hand_ns"]), (r["peer"], r["peer_ns"])):
            if name and ns:
                found[name] = ns / r["ns"]
    return [(case, found) for case, found in cases.items() if found]


def draw(results):
    cases = series(results["rows"])
    if not cases:
        raise SystemExit("bench_chart.py: the file holds no rows with a time")
    values = [v for _, found in cases for v in found.values()]
    low = min(-2, math.floor(math.log2(min(values))))
    high = max(2, math.ceil(math.log2(max(values))))
    place = lambda v: left + width * (math.log2(v) - low) / (high - low)
    out, y = [], top
    for case, found in cases:
        out.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(case)}</text>')
        for name, value in found.items():
            a, b = sorted((place(1.0), place(value)))
            out.append(f'<rect x="{a:.1f}" y="{y + 2}" width="{max(b - a, 1):.1f}" height="{row - 4}" '
                       f'fill="{colours.get(name, "#777")}"><title>{escape(name)}: {value:.2f}</title></rect>')
            out.append(f'<text x="{b + 4:.1f}" y="{y + 11}" class="s">{value:.2f}</text>')
            y += row
        y += 5
    grid = "".join(f'<line x1="{place(2.0 ** k):.1f}" x2="{place(2.0 ** k):.1f}" y1="{top - 6}" y2="{y}" '
                   f'stroke="{"#000" if k == 0 else "#ddd"}"/><text x="{place(2.0 ** k):.1f}" y="{top - 10}" '
                   f'text-anchor="middle" class="s">{2.0 ** k:g}</text>' for k in range(low, high + 1))
    legend, x = "", left
    for name, colour in colours.items():
        legend += f'<rect x="{x}" y="16" width="11" height="11" fill="{colour}"/><text x="{x + 15}" y="26">{name}</text>'
        x += 90
    machine = results.get("machine", {}).get("processor", "")
    title = f"time over ours, one core ({machine}, {results.get('date', '')[:10]}); right of 1: ours is faster"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{y + 16}" '
            'font-family="sans-serif" font-size="11"><style>.s{font-size:9px;fill:#555}</style>'
            f'<rect width="100%" height="100%" fill="#fff"/><text x="8" y="12" class="s">{escape(title)}</text>'
            f'{legend}{grid}{"".join(out)}</svg>\n')


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with open(sys.argv[1]) as source:
        picture = draw(json.load(source))
    with open(sys.argv[2], "w") as target:
        target.write(picture)
