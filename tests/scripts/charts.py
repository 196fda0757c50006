#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/charts.sh draws the curves and bars that its numbers hold, and says in one sentence why it cannot.

    charts.py CHARTS_SH
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as tree
from pathlib import Path

script = sys.argv.pop(1)
svg = "{http://www.w3.org/2000/svg}"


class Charts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.at = Path(self.folder.name)

    def write(self, name, *lines):
        (self.at / name).write_text("\n".join(lines) + "\n")
        return self.at / name

    def run_script(self, *arguments, **more):
        return subprocess.run(["bash", script, *map(str, arguments)], capture_output=True, text=True, **more)

    def draw(self, *arguments):
        done = self.run_script(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def curves(self, path):
        """{name in the legend: path data} of a picture's curves, in order."""
        groups = [g for g in tree.parse(path).iter(svg + "g") if g.get("id", "").startswith("gnuplot_plot_")]
        return {self.words(g)[0]: " ".join(p.get("d") for p in g.iter(svg + "path")) for g in groups}

    def words(self, part):
        return [" ".join("".join(t.itertext()).split()) for t in part.iter(svg + "text")]

    def texts(self, path):
        return self.words(tree.parse(path))

    def refuse(self, text, *arguments, **more):
        before = sorted(self.at.iterdir())
        done = self.run_script(*arguments, **more)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(sorted(self.at.iterdir()), before)

    def lines_of(self, *lines, **named):
        file = self.write("a.csv", *lines)
        self.draw("lines", file, self.at / "a.svg", *(f"{k}={v}" for k, v in named.items()))
        return self.curves(self.at / "a.svg")

    def test_a_line_for_each_name_with_means_and_gaps(self):
        rows = ["name,seed,epoch,loss"]
        rows += [f"mean,{seed},{epoch},{3 * seed}" for seed in (0, 2) for epoch in (1, 2, 3, 4)]
        rows += [f"a_1 <b>'s é,0,{epoch},{'nan' if epoch == 2 else 3}" for epoch in (1, 2, 3, 4)]
        found = self.lines_of(*rows, X="epoch", Y="loss", LINE="name", **{"from": 0, "to": 6}, title="it's a <title>",
                              x_label="x_1", y_label="y, %")
        self.assertEqual(list(found), ["mean", "a_1 <b>'s é"])
        points = lambda d: re.findall(r"([\d.]+),([\d.]+)", d)
        mean, gap = found.values()
        # The mean of 0 and 6 lies where 3 does; the curve with a gap begins twice.
        self.assertEqual(points(mean)[-1], points(gap)[-1])
        self.assertEqual(gap.count("M") - mean.count("M"), 1, gap)
        self.assertEqual(len(points(mean)) - len(points(gap)), 1)
        for text in ("it's a <title>", "x_1", "y, %", "a_1 <b>'s é"):
            self.assertIn(text, self.texts(self.at / "a.svg"))

    def test_some_rows_rescaled(self):
        rows = ["kind,x,y", "2:4,1,0.25", "2:4,2,0.5", "b,1,70", "b,2,90"]
        self.lines_of(*rows, X="x", Y="y", only="kind:2:4", times=-100, plus=100)
        labels = [float(t) for t in self.texts(self.at / "a.svg") if re.fullmatch(r"[\d.]+", t)]
        self.assertIn(75.0, labels)
        self.assertIn(50.0, labels)
        self.assertNotIn(-8900.0, labels)

    def test_lines_beyond_the_palette_are_dashed(self):
        rows = ["name,x,y"] + [f"{name},{x},{ord(name) + x}" for name in "abcdefghi" for x in (0, 1)]
        self.assertEqual("".join(self.lines_of(*rows, X="x", Y="y", LINE="name")), "abcdefghi")
        groups = [g for g in tree.parse(self.at / "a.svg").iter(svg + "g") if g.get("id", "").startswith("gnuplot_plot_")]
        dashed = ["dasharray" in tree.tostring(g, encoding="unicode") for g in groups]
        self.assertEqual(dashed, [False] * 8 + [True])

    def test_the_legend_lies_in_the_picture(self):
        for length in (10, 40):
            names = {name * length for name in "12345"}
            self.lines_of("name,x,y", *(f"{name},{x},{x}" for name in names for x in (0, 1)), X="x", Y="y", LINE="name")
            found = set()
            for part in tree.parse(self.at / "a.svg").iter(svg + "g"):
                if names & set("".join(text.itertext()).strip() for text in part.findall(svg + "text")):
                    x, y = re.findall(r"[\d.]+", part.get("transform"))[:2]
                    self.assertLess(float(x) + 7 * length, 760)
                    found.add((x, y))
            self.assertEqual(len(found), 5)

    def test_bars(self):
        file = self.write("a.csv", "stack,accuracy", "plain,0.9711", "l2,0.973", "none,nan")
        self.draw("bars", file, self.at / "a.svg", "BAR=stack", "Y=accuracy", "times=100", "from=95", "decimals=1",
                  "unit= %")
        texts = self.texts(self.at / "a.svg")
        for text in ("plain", "97.1 %", "l2", "97.3 %", "none", "n/a"):
            self.assertIn(text, texts)

    def test_folders_of_the_examples(self):
        runs = [(seed, epoch) for seed in (1, 2) for epoch in (1, 2, 3)]
        self.write("digits_curves.csv", "stack,seed,epoch,training_loss,test_accuracy",
                   *(f"{s},{seed},{e},{1 / e},{1 - 0.5 / e}" for s in ("plain", "moe") for seed, e in runs))
        self.write("digits_stacks.csv", "stack,test_accuracy,step_us,batch", "plain,0.97,180,64", "moe,0.98,300,64")
        self.write("films_curves.csv", "gate,seed,epoch,training_loss,loss,auc,squared_error,accuracy",
                   *(f"{g},{seed},{e},1,1,{0.8 + e / 100},{1 / e},0" for g in ("hash", "hash+") for seed, e in runs))
        self.write("films_loads.csv", "gate,seed,epoch,experts_per_row,expert,load",
                   *(f"{g},{seed},{e},2,{x},{(0.3 + e * x / 100) if seed == 1 else 9}" for g in ("hash", "hash+")
                     for seed, e in runs for x in (0, 1, 2)))
        self.draw(self.at)
        stacks, gates, experts = ["plain", "moe"], ["hash", "hash+"], ["expert 0", "expert 1", "expert 2"]
        drawn = {"digits_test_error": stacks, "digits_training_loss": stacks, "films_auc": gates,
                 "films_squared_error": gates, "films_experts": gates, "films_loads_hash": experts,
                 "films_loads_hash_search": experts}
        pictures = {p.stem: p for p in self.at.glob("*.svg")}
        self.assertEqual(set(pictures), set(drawn) | {"digits_accuracy", "digits_step_time"})
        for name, lines in drawn.items():
            self.assertEqual(list(self.curves(pictures[name])), lines, name)
        self.assertIn("films: area under the curve of watched, mean of 2 seeds", self.texts(pictures["films_auc"]))
        # Loads are those of the first seed alone.
        ticks = [float(t) for t in self.texts(pictures["films_loads_hash"]) if re.fullmatch(r"[\d.]+", t)]
        self.assertLess(max(ticks), 4)
        self.assertIn("digits: test accuracy after 3 epochs, mean of 2 seeds", self.texts(pictures["digits_accuracy"]))
        self.assertIn("digits: time of a training step, 64 rows, one core", self.texts(pictures["digits_step_time"]))
        self.assertIn("98.00 %", self.texts(pictures["digits_accuracy"]))

    def test_bad_input(self):
        good = self.write("good.csv", "x,y,name", "1,2,a")
        chart, columns = self.at / "a.svg", ("X=x", "Y=y")
        lines = lambda file: ("lines", file, chart, *columns)
        self.refuse("there is no column \"z\"; it has x,y,name", "lines", good, chart, "X=z", "Y=y")
        self.refuse("line 3 has 1 cells, and the first line names 2", *lines(self.write("b.csv", "x,y", "1,2", "1")))
        self.refuse("line 2: \"one\" in column y is no number", *lines(self.write("c.csv", "x,y", "1,one")))
        self.refuse("it has no rows", *lines(self.write("d.csv", "x,y")))
        self.refuse("no row has name:b", *lines(good), "only=name:b")
        self.refuse("'colour=red' says nothing about a chart", *lines(good), "colour=red")
        self.refuse("'to=1; exit' is no number", *lines(good), "to=1; exit")
        self.refuse("lines need X=COLUMN", "lines", good, chart, "Y=y")
        self.refuse("cannot be read", *lines(self.at / "none.csv"))
        self.refuse("cannot be written", "lines", good, self.at / "no" / "a.svg", *columns)
        self.refuse("could not draw", *lines(self.write("e.csv", "x,y", "1,nan")))
        self.refuse("there is no folder", self.at / "none")
        self.refuse("holds no *_curves.csv", self.at)
        self.refuse("give a folder", self.at, "more")
        self.write("f_curves.csv", "other,y")
        self.refuse("begins with neither stack nor gate", self.at)

    def test_without_gnuplot(self):
        tools = self.at / "tools"
        tools.mkdir()
        for tool in ("bash", "basename", "mktemp", "rm", "awk"):
            os.symlink(shutil.which(tool), tools / tool)
        self.write("digits_curves.csv", "stack,seed,epoch,training_loss,test_accuracy")
        self.refuse("the numbers are in", self.at, env={"PATH": str(tools)})


if __name__ == "__main__":
    if not shutil.which("gnuplot"):
        print("skipped: gnuplot is not installed (Debian: gnuplot-nox)")
        sys.exit(77)
    unittest.main()
