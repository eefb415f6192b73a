#!/usr/bin/env python3
"""Prints a table of other detectors and ours on the scenes of `cargo bench --bench frame`, smallest face 20, one thread.

usage: bench_peers.py PEERS_FOLDER      (run it right after that bench; the folder holds peers.py)

Our time is wall-clock time, the least of criterion's samples (each the mean of some runs); the others' is processor time, the
least of 20 runs. So other work on the machine changes little, and if anything it makes ours look slower."""
import json
import pathlib
import subprocess
import sys

REPEAT = "20"
SMALLEST = "20"
PEERS = [("YuNet, scaled by 1/2", "yunet"), ("MTCNN", "mtcnn")]
SCENES = ["crowd", "empty"]

root = pathlib.Path(__file__).resolve().parent.parent
bench = root / "out" / "bench"
program = pathlib.Path(sys.argv[1]).resolve() / "peers.py"


def ours(scene):
    file = root / "target" / "criterion" / "frame" / scene / SMALLEST / "new" / "sample.json"
    if not file.is_file():
        sys.exit(f"{file} is missing: `cargo bench --bench frame` writes it")
    sample = json.loads(file.read_text())
    return min(time / runs for time, runs in zip(sample["times"], sample["iters"])) / 1e6


def theirs(peer):
    pictures, found = bench / "scenes.txt", bench / f"{peer}.jsonl"
    pictures.write_text("".join(f"{bench / scene}.png\n" for scene in SCENES))
    arguments = ["--peer", peer, "--images", pictures, "--out", found, "--min-face", SMALLEST, "--repeat", REPEAT]
    ran = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{peer} failed with {sys.executable} (PEERS_PYTHON names another): {ran.stderr.strip()[-500:]}")
    return [json.loads(line)["cpu_ms"] for line in found.read_text().splitlines()]


reference = [ours(scene) for scene in SCENES]
print(f"VGA frame, smallest face {SMALLEST}, one thread, ms   " + "".join(f"{scene:>16}" for scene in SCENES))
for name, times in [("facecascade", reference)] + [(name, theirs(peer)) for name, peer in PEERS]:
    cells = (f"{ms:>8.2f} ({ms / own:4.1f}x)" for ms, own in zip(times, reference))
    print(f"{name:<46}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
