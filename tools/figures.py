#!/usr/bin/env python3
"""Writes the figures of README.md and models/README.md between their markers, from what the project's commands printed.

usage: figures.py EVAL BENCH RUN [NOTE]
  EVAL   output of: facecascade eval --data ../shared/data --set wider-val --threads 1
  BENCH  output of: make bench
  RUN    folder of the `train all` run that made the weights (its events.jsonl)
  NOTE   what else is to be said of the run"""
import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
evaluation, bench = (pathlib.Path(path).read_text().strip() for path in sys.argv[1:3])
bench = "\n".join(line for line in bench.splitlines() if not line.startswith("Benchmarking"))
record = (pathlib.Path(sys.argv[3]) / "events.jsonl").read_text().splitlines()
note = f" ({sys.argv[4]})" if len(sys.argv) > 4 else ""
EVAL = "`facecascade eval --data ../shared/data --set wider-val --threads 1`"


def put(path, name, text):
    path = root / path
    head, rest = path.read_text().split(f"<!-- {name}:begin -->")
    tail = rest.split(f"<!-- {name}:end -->")[1]
    path.write_text(f"{head}<!-- {name}:begin -->\n{text.strip()}\n<!-- {name}:end -->{tail}")


def code(text):
    return f"```text\n{text.strip()}\n```"


def between(start, end):
    return re.search(re.escape(start) + r".*?(?=" + end + r"|\Z)", bench, re.S)[0]


def net_row(net, case, title):
    cells = []
    for engine in ("cpu", "own", "stock"):
        numbers = rf"^{net}/{engine} {case}\s+time:\s+\[\S+ \S+ (\S+ \S+) \S+ \S+\]\s+thrpt:\s+\[\S+ \S+ (\S+) (\S)elem"
        time, speed, unit = re.search(numbers, bench, re.M).groups()
        cells.append(f"{time} ({speed} {unit}/s)")
    return f"| `{net}`, {title} | " + " | ".join(cells) + " |"


cases = [("octave", "vga", "pyramid of a VGA frame"), ("refine24", "1 windows", "1 window"),
         ("refine24", "64 windows", "64 windows"), ("refine48", "1 windows", "1 window"),
         ("refine48", "64 windows", "64 windows")]
nets = "\n".join(["| net | engine | candle, our operations | candle's own |", "|---|---|---|---|",
                  *(net_row(*case) for case in cases)])

# Whoever adds the date behind the output does no harm.
DATE = "\n[A-Z][a-z]{2} [A-Z][a-z]{2} "

put("README.md", "figures", f"""
Accuracy on the validation part of WIDER FACE, 394 pictures of five classes of scene. {EVAL}:

{code(evaluation)}

Time beside other detectors, in the same minute (`make bench`). The crowd is made to be hard: there levels 2 and 3 do most
of the work.

{code(between("VGA frame, smallest face 20, one thread", DATE))}

The crowd stage by stage, one thread (`cargo bench --bench frame`):

{code(between("crowd, smallest face 20: ", "frame/"))}

Each net, one thread, median time and multiply-adds a second (`cargo bench --bench nets`):

{nets}
""")

done = [event for event in map(json.loads, record) if event["event"] == "done"]
for net in ("octave", "refine24", "refine48"):
    rows = ["From the run's record (`events.jsonl`):\n", "| stage | samples | time |", "|---|---|---|"]
    for event in done:
        if net in event["stage"]:
            what = "windows" if "mining" in event["stage"] else "samples"
            rows.append(f"| {event['stage']} | {event['samples']:,} {what} | {event['seconds']:.0f} s |")
    put("models/README.md", net, "\n".join(rows))
minutes = sum(event["seconds"] for event in done) / 60
put("models/README.md", "cascade", f"""
One run of `facecascade train all`: {minutes:.0f} minutes on two cores{note}. The settings, [shipped.toml](shipped.toml), were
chosen on the validation part of WIDER FACE, on which no net learned. {EVAL}:

{code(evaluation)}
""")
