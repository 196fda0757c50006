#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Joins what scripts/gpu-check.sh found to one file, docs/benchmarks/DEVICE.json.

    gpu_results.py --gpu TEXT --toolkit TEXT --commit TEXT --command TEXT --seconds N --table FILE --left-out FILE
                   --output FOLDER [--joined FILE] RESULTS.json...
    gpu_results.py --self-test

--gpu is what nvidia-smi says of name, compute capability and driver. A line of the table is NAME, STATUS and a text, tabs
between them. Rows of benchmarks are those that the peers' program joined (--joined), and of the programs' own files those
that it did not come to. Prints the name of the file.
"""
import argparse
import datetime
import json
import pathlib
import re
import sys
import tempfile


def rows_of(joined, files):
    """The rows and roofs of all files; those with peers first in the place of the same rows without."""
    rows, roofs = {}, {}
    for path in [*files, *([joined] if joined else [])]:
        if not path.is_file():
            continue
        told = json.loads(path.read_text(encoding="utf-8"))
        roofs.update(told.get("roofs", {}))
        for row in told["rows"]:
            rows[row["family"], row["case"]] = row
    return list(rows.values()), roofs


def device_name(gpu):
    """"NVIDIA H200, 9.0, 580.1" -> "nvidia-h200"."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.split(",")[0].lower()).strip("-") or "gpu"


def lines_of(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]


def join(options):
    rows, roofs = rows_of(options.joined, options.results)
    fields = [part.strip() for part in options.gpu.split(",")] + ["", ""]
    out = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": options.commit,
        "command": options.command,
        "seconds": options.seconds,
        "machine": {"gpu": fields[0], "compute_capability": fields[1], "driver": fields[2], "toolkit": options.toolkit},
        "checks": [{"name": name, "status": status, "text": text} for name, status, text in lines_of(options.table)],
        "left_out": [line[0] for line in lines_of(options.left_out)],
        "roofs": roofs,
        "rows": rows,
    }
    path = options.output / f"{device_name(options.gpu)}.json"
    path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    return path


def self_test():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        row = {"family": "gate", "case": "a", "ns": 2.0, "floor_ns": 1.0, "peer": None, "peer_ns": None}
        (folder / "a.json").write_text(json.dumps({"rows": [row, {**row, "case": "b"}], "roofs": {"copy": 4.0}}))
        (folder / "joined.json").write_text(json.dumps({"rows": [{**row, "peer": "triton", "peer_ns": 3.0}], "roofs": {}}))
        (folder / "table").write_text("gpu.layers\tok\t3 s\nbench\t-\tstopped after 9 s\n")
        (folder / "left").write_text("racecheck: no time was left\n")
        command = ["--gpu", "NVIDIA H200 NVL, 9.0, 580.65", "--toolkit", "CUDA 13.0", "--commit", "abc", "--command",
                   "scripts/gpu-check.sh", "--seconds", "12", "--table", folder / "table", "--left-out", folder / "left",
                   "--output", folder, "--joined", folder / "joined.json", folder / "a.json"]
        path = join(arguments([str(word) for word in command]))
        told = json.loads(path.read_text())
        assert path.name == "nvidia-h200-nvl.json", path
        assert told["machine"] == {"gpu": "NVIDIA H200 NVL", "compute_capability": "9.0", "driver": "580.65",
                                   "toolkit": "CUDA 13.0"}, told
        assert [(r["case"], r["peer"]) for r in told["rows"]] == [("a", "triton"), ("b", None)], told["rows"]
        assert told["roofs"] == {"copy": 4.0} and told["seconds"] == 12
        assert told["checks"][1] == {"name": "bench", "status": "-", "text": "stopped after 9 s"}
        assert told["left_out"] == ["racecheck: no time was left"]
    print("right")


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gpu", "toolkit", "commit", "command"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seconds", type=int, required=True)
    for name in ("table", "left-out", "output"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--joined", type=pathlib.Path)
    parser.add_argument("results", nargs="*", type=pathlib.Path)
    return parser.parse_args(words)


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    else:
        print(join(arguments(sys.argv[1:])))
