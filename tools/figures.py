#!/usr/bin/env python3
"""Puts what the project's commands printed between the markers of README.md, docs/performance.md, docs/experiments.md and models/README.md.

usage: figures.py KIND ...    one or more, each with what it needs:
  eval FILE            output of: facecascade eval --data DIR --set wider-val --threads 1
  smile FILE           output of: facecascade eval --data DIR --set smile
  bench FILE           output of: make bench
  latency FILE [NOTE]  output of: facecascade bench --seconds 20
  policies FILE [NOTE] output of: facecascade bench --headless --seconds 5 --slow 100 --policies
  video-speed FILE     output of: ROUNDS=2 tools/video_speed.sh
  redaction FILE       output of: facecascade eval --data DIR --redaction --beside …
  leaks FILE           output of: tools/leaks.sh
  run FOLDER [NOTE]    folder of the run that made weights (its events.jsonl): `train all`, or of single nets
  masks FILE           output of: facecascade eval --data DIR --set masks
  held-back FILE       output of: facecascade eval --data DIR --set held-back
  compare FOLDER       what `make compare` wrote: out/compare; its picture goes to docs/compare.png
  experiments FOLDER   what `make experiments` drew: out/experiments; its pictures go to docs/experiments/
  quick-start          runs the commands of README.md's quick start with target/release/facecascade
NOTE says what else is to be known, such as what the machine did besides; it begins with none of the words above."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
PERFORMANCE, NETS, README, EXPERIMENTS = "docs/performance.md", "models/README.md", "README.md", "docs/experiments.md"


def put(path, name, text):
    """Replaces what lies between the markers of `name`."""
    file, begin, end = root / path, f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, rest = file.read_text().split(begin)
    file.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}")


def code(text, language="text"):
    return f"```{language}\n{text.strip()}\n```"


def evaluation(output):
    for path in (PERFORMANCE, NETS):
        put(path, "accuracy", code(output))


def bench(output):
    output = "\n".join(line for line in output.splitlines() if not line.startswith("Benchmarking"))

    def between(start, end):
        return code(re.search(re.escape(start) + r".*?(?=" + end + r"|\Z)", output, re.S)[0])

    def net_row(net, case, title):
        cells = []
        for engine in ("int8", "cpu", "own", "stock"):
            numbers = rf"^{net}/{engine} {case}\s+time:\s+\[\S+ \S+ (\S+ \S+) \S+ \S+\]\s+thrpt:\s+\[\S+ \S+ (\S+) (\S)elem"
            time, speed, unit = re.search(numbers, output, re.M).groups()
            cells.append(f"{time} ({speed} {unit}/s)")
        published = re.search(rf"^{net}/onnxruntime {case}\s+time:\s+\[\S+ \S+ (\S+ \S+)", output, re.M)
        cells.append(published[1] if published else "–")
        return f"| `{net}`, {title} | " + " | ".join(cells) + " |"

    # A line with the date may follow the output.
    peers = between("VGA frame, smallest face 20, one thread", "\n[A-Z][a-z]{2} [A-Z][a-z]{2} ")
    for path in (README, PERFORMANCE):
        put(path, "peers", peers)
    put(PERFORMANCE, "steps", between("crowd, smallest face 20: ", "frame/"))
    cases = [("yunet", "vga", "VGA frame at half its size"), ("octave", "vga", "pyramid of a VGA frame"),
             *((net, f"{n} windows", title) for net in ("refine24", "refine48")
               for n, title in ((1, "1 window"), (16, "16 windows"), (64, "64 windows")))]
    put(PERFORMANCE, "nets", "\n".join(["| net | in 8 bits | in floats | candle, our operations | candle's own | published net on ONNX Runtime |", "|---|---|---|---|---|---|",
                                        *(net_row(*case) for case in cases)]))


def latency(output, note):
    put(PERFORMANCE, "latency", f"`facecascade bench --seconds 20`{note and ' ' + note} printed:\n\n{code(output)}")


def policies(output, note):
    command = "`facecascade bench --headless --seconds 5 --slow 100 --policies`"
    put(PERFORMANCE, "policies", f"{command}{note and ' ' + note} printed:\n\n{code(output)}")


def record_of(folder):
    return [json.loads(line) for line in (pathlib.Path(folder) / "events.jsonl").read_text().splitlines()]


def parts(done):
    rows = ["From the run's record (`events.jsonl`):\n", "| part of the run | samples | time |", "|---|---|---|"]
    for event in done:
        what = "windows" if "mining" in event["stage"] else "samples"
        rows.append(f"| {event['stage']} | {event['samples']:,} {what} | {event['seconds']:.0f} s |")
    return rows


def measures(event):
    """Whether a net that is a detector of its own was measured."""
    return event["event"] == "validation" and bool(event["sets"])


def validation(record):
    """The last measurement of every tenth of a net's training."""
    measured = [event for event in record if measures(event)]
    names = [one["set"] for one in measured[-1]["sets"]]
    rows = ["| samples | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for event in measured[::max(1, len(measured) // 10)] + measured[-1:]:
        cells = [f"{one['ap_h20']:.3f} / {one['ap_h40']:.3f}" for one in event["sets"]]
        row = f"| {event['samples']:,} | " + " | ".join(cells) + " |"
        if row not in rows:
            rows.append(row)
    put(NETS, "validation", "\n".join(rows))


def run(folder, note):
    record = record_of(folder)
    done = [event for event in record if event["event"] == "done"]
    nets = [net for net in ("yunet", "refine64", "refine96", "smile") if any(net in event["stage"] for event in done)]
    for net in nets:
        rows = parts([event for event in done if net in event["stage"]])
        rows.extend(["", "On the faces held back, as the cascade finds them:\n", "| set | balanced accuracy | AUC |", "|---|---|---|"]
                    if net == "smile" else [])
        for event in record:
            if event["event"] == "held" and net in event["stage"]:
                rows.append(f"| {event['set']}/train, after {event['stage']} | {event['balanced_accuracy']:.4f} | {event['auc']:.4f} |")
        put(NETS, net, "\n".join([*rows, *([f"\n{note}"] if note else [])]))
    if any(map(measures, record)):
        validation(record)


def compare(folder):
    folder = pathlib.Path(folder)
    shutil.copyfile(folder / "compare.png", root / "docs" / "compare.png")
    picture = "![Average precision over processor time, a line for each detector](compare.png)"
    put(PERFORMANCE, "compare", f"{picture}\n\n{(folder / 'compare.md').read_text()}")
    put(EXPERIMENTS, "peers", peers_beside())


def experiments(folder):
    """Tables of the experiments that were made, with their graphs; the others' blocks say that they are still to be made."""
    folder, pictures = pathlib.Path(folder), root / "docs" / "experiments"
    pictures.mkdir(exist_ok=True)
    for file in sorted((root / "experiments").glob("*.toml")):
        name, block = file.stem, "Not made yet: `make experiments` makes it."
        if (folder / f"{name}.md").is_file():
            block = (folder / f"{name}.md").read_text()
            if (folder / f"{name}.png").is_file():
                shutil.copyfile(folder / f"{name}.png", pictures / f"{name}.png")
                title = re.search(r'^title = "(.*)"$', file.read_text(), re.M)[1]
                block = f"![{title}](experiments/{name}.png)\n\n{block}"
        put(EXPERIMENTS, name, block)
    put(EXPERIMENTS, "peers", peers_beside())


def peers_beside():
    """The lines of docs/performance.md's comparison that look for faces as small as the experiment on cascades does."""
    text = (root / PERFORMANCE).read_text().split("<!-- compare:begin -->")[1].split("<!-- compare:end -->")[0]
    about, table = re.search(r"^(\d+ pictures .*)\n\n((?:\|.*\n)+)", text, re.M).groups()
    head, rule, *rows = table.splitlines()
    rows = [row for row in rows if row.split("|")[2].strip() in ("20", "its own")]
    return "\n".join([head, rule, *rows, "", about])


def quick_start():
    text = (root / README).read_text()
    block = re.search(r"<!-- quick-start:begin -->\n(.*?)<!-- quick-start:end -->", text, re.S)[1]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        # In a folder that holds nothing but links, so that results don't end up among the sources.
        folder = pathlib.Path(folder)
        (folder / "assets").symlink_to(root / "assets")
        environment = os.environ | {"PATH": f"{root / 'target/release'}:{os.environ['PATH']}"}
        for command in re.findall(r"^\$ (.*)$", block, re.M):
            ran = subprocess.run(["bash", "-eo", "pipefail", "-c", command], cwd=folder, env=environment, text=True, capture_output=True)
            if ran.returncode:
                sys.exit(f"{command}: {ran.stderr.strip()}")
            lines += [f"$ {command}", ran.stdout.rstrip()]
    put(README, "quick-start", code("\n".join(filter(None, lines)), "console"))


KINDS = {"eval": evaluation, "smile": lambda output: put(NETS, "smile-accuracy", code(output)),
         "masks": lambda output: put(NETS, "masks", code(output)), "held-back": lambda output: put(NETS, "held-back", code(output)), "bench": bench, "latency": latency, "policies": policies,
         **{kind: lambda output, kind=kind: put(PERFORMANCE, kind, code(output)) for kind in ("video-speed", "redaction", "leaks")}, "run": run, "compare": compare, "experiments": experiments, "quick-start": quick_start}
NOTES = ("latency", "policies", "run")

arguments = sys.argv[1:]
if not arguments or arguments[0] not in KINDS:
    sys.exit(__doc__)
while arguments:
    kind, *arguments = arguments
    given = []
    if kind != "quick-start":
        if not arguments:
            sys.exit(f"figures.py: {kind} needs a file or folder\n\n{__doc__}")
        where = arguments.pop(0)
        given.append(where if kind in ("run", "compare", "experiments") else pathlib.Path(where).read_text())
    if kind in NOTES:
        given.append(arguments.pop(0) if arguments and arguments[0] not in KINDS else "")
    if arguments and arguments[0] not in KINDS:
        sys.exit(f"figures.py: {arguments[0]} is none of {', '.join(KINDS)}\n\n{__doc__}")
    KINDS[kind](*given)
