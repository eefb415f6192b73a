#!/usr/bin/env python3
"""Compares accuracy and time of our cascade with other detectors', in one run: a table, a picture and a JSON file.

usage: compare.py DATA PEERS_FOLDER     (`make compare` runs it with the Python that has PEERS_FOLDER/requirements.txt)

DATA holds wider/ (docs/training.md), PEERS_FOLDER peers.py, which runs the other detectors, and evaluate.py. Into out/compare/ go
compare.md, compare.png and compare.json; what each detector found stays beside them.

Accuracy is that of `facecascade eval`, for all by the same code: AP on WIDER's validation pictures, and the share of faces found by
size, pose, occlusion, blur and light, each detector at its own score of one false alarm in ten pictures. evaluate.py computes the
others' AP again; a difference is an error.

Time is processor time of detection alone, on one thread, of frames of 640×480 pixels: some of the same pictures, scaled until they
fill the frame and cut to its middle, and the scenes of `cargo bench --bench frame`. Everyone does every frame in turn, round after
round, so that other work on the machine meets all alike; each frame counts with its least time.

Environment: COMPARE_CASCADES  settings of our cascades, with spaces between   [the three that ship]
             COMPARE_SIZES     smallest faces, pixels                          [10 14 20 28 40 80]
             COMPARE_PRECISION of f32 and int8, those to run                   [f32 int8]
             COMPARE_PEERS     other detectors by peers.py's names             [all that run here]
             COMPARE_EVERY     only every Nth picture, to try it               [1]
             COMPARE_ROUNDS    rounds of timing                                [5]
             COMPARE_REPEATS   searches of a frame in a round                  [3]"""
import csv
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

import cv2

cv2.setNumThreads(1)

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "out" / "compare"
PROGRAM = ROOT / "target" / "release" / "facecascade"
BENCH = ROOT / "out" / "bench"

WIDTH, HEIGHT = 640, 480
PICTURES = 30
SCENES = ["empty", "crowd"]
FALSE_ALARMS = "0.1"
LABELS = ["size", "pose", "occlusion", "blur", "light"]
# peers.py's names; those without a smallest face have one way of being run.
PEERS = {"yunet": "YuNet", "yunet-s": "YuNet-s", "scrfd": "SCRFD-500M", "retinaface": "RetinaFace mnet-0.25", "ulfd": "Ultra-Light RFB-320",
         "mtcnn": "MTCNN", "blaze-full": "BlazeFace full range", "blaze-short": "BlazeFace short range", "ccnn": "CompactCNNCascade",
         "rustface": "rustface", "pico": "pico", "dlib-hog": "dlib HOG", "haar": "OpenCV Haar"}
ONE_SIZE = {"blaze-full", "blaze-short"}


def setting(name, default):
    return os.environ.get(f"COMPARE_{name}") or default


def call(*command):
    """Runs a command and returns what it printed; ends the run with its last words if it fails."""
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{' '.join(map(str, command[:6]))} … failed: {ran.stderr.strip()[-600:]}")
    return ran.stdout


def say(text):
    print(text, file=sys.stderr, flush=True)


class Ours:
    """Our cascade of a settings file, in one precision, with one smallest face."""

    def __init__(self, settings, precision, size):
        settings = pathlib.Path(settings)
        folder = "" if settings.parent.name == "models" else f"{settings.parent.name}/"
        self.series = f"facecascade {folder}{settings.stem} {precision}"
        self.ours, self.size = True, size
        self.options = ["--cascade", ROOT / settings, "--precision", precision, "--min-face", size]

    def accuracy(self, data, pictures):
        return json.loads(call(PROGRAM, "eval", "-q", "--data", data, "--every", EVERY, *LABELLED, *self.options))

    def times(self, frames):
        lines = call(PROGRAM, "detect", "-q", "--json", "--no-smile", "--repeat", REPEATS, "--list", frames, *self.options)
        return [json.loads(line)["cpu_ms"] for line in lines.splitlines()]


class Peer:
    """Another detector, run by peers.py with one smallest face; 0 where it has none."""

    def __init__(self, peers, name, size):
        self.peers, self.name, self.series = peers, name, PEERS[name]
        self.ours, self.size = False, size

    def run(self, images, out, *options):
        call(sys.executable, self.peers / "peers.py", "--peer", self.name, "--images", images, "--out", out, "--min-face", self.size, *options)
        return out

    def accuracy(self, data, pictures):
        found = self.run(pictures, OUT / f"{self.name}-{self.size}.jsonl", "--mode", "acc", "--root", data / "wider")
        result = json.loads(call(PROGRAM, "eval", "-q", "--data", data, "--every", EVERY, *LABELLED, "--detections", found))
        if EVERY == "1":
            scores = json.loads(call(sys.executable, self.peers / "evaluate.py", "wider", "--det", found, "--gt", data / "wider", "--no-adjust"))
            for height in ("h20", "h40"):
                a, b = scores["raw"][height].get("ap", 0.0), result["raw"][height]["ap"]
                if abs(a - b) > 2e-4:
                    sys.exit(f"{self.series}, {height}: evaluate.py says AP {a}, facecascade eval {b}")
        return result

    def times(self, frames):
        found = self.run(frames, OUT / "times.jsonl", "--repeat", REPEATS)
        return [json.loads(line)["cpu_ms"] for line in found.read_text().splitlines()]


def runs_here(peers, name):
    """Whether a detector's weights and libraries are here; says why if not."""
    frame, out = OUT / "one.txt", OUT / "one.jsonl"
    frame.write_text(f"{BENCH / 'empty.png'}\n")
    command = [sys.executable, peers / "peers.py", "--peer", name, "--images", frame, "--out", out, "--min-face", "20"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["no reason given"])[-1][:160]
        say(f"{PEERS[name]}: left out: {reason}")
        LEFT_OUT.append(PEERS[name])
    return not ran.returncode


def validation(data):
    """The names of WIDER's validation pictures, in the order of `facecascade eval`."""
    names = dict.fromkeys(row["image"] for file in ("images.csv", "annotations.csv") if (data / "wider" / file).is_file()
                          for row in csv.DictReader((data / "wider" / file).open()) if row["split"] == "val")
    return list(names)[::int(EVERY)]


def frame_of(picture):
    """The picture scaled until it fills a frame, and cut to its middle."""
    height, width = picture.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    size = max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale))
    large = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - WIDTH) // 2, (size[1] - HEIGHT) // 2
    return large[top:top + HEIGHT, left:left + WIDTH]


def frames(data, names):
    """Writes the frames that times are taken on; returns the file that lists them: pictures, then scenes."""
    folder = OUT / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = names[::max(1, len(names) // PICTURES)][:PICTURES]
    files = []
    for number, name in enumerate(chosen):
        picture = cv2.imread(str(data / "wider" / name))
        if picture is None:
            sys.exit(f"{data / 'wider' / name} can't be read")
        files.append(folder / f"{number:02}.png")
        cv2.imwrite(str(files[-1]), frame_of(picture))
    for scene in SCENES:
        files.append(BENCH / f"{scene}.png")
        if not files[-1].is_file():
            sys.exit(f"{files[-1]} is missing: `cargo bench --bench frame` writes it")
    listed = OUT / "frames.txt"
    listed.write_text("".join(f"{file}\n" for file in files))
    return listed, len(chosen)


def measure(runs, data, names):
    """Accuracy of all, then times in rounds."""
    pictures = OUT / "pictures.txt"
    pictures.write_text("".join(f"{name}\n" for name in names))
    results = []
    for number, run in enumerate(runs):
        say(f"accuracy {number + 1}/{len(runs)}: {run.series}, smallest face {run.size or 'its own'}")
        results.append(run.accuracy(data, pictures))
    listed, count = frames(data, names)
    least = [None] * len(runs)
    for round_ in range(ROUNDS):
        say(f"times, round {round_ + 1}/{ROUNDS}")
        for number, run in enumerate(runs):
            times = run.times(listed)
            least[number] = [min(pair) for pair in zip(times, least[number] or times)]
    rows = []
    for run, result, times in zip(runs, results, least):
        scenes = dict(zip(SCENES, times[count:]))
        rows.append({"detector": run.series, "ours": run.ours, "smallest": run.size, "ms": round(sum(times[:count]) / count, 3), **scenes,
                     "h20": result["raw"]["h20"]["ap"], "h40": result["raw"]["h40"]["ap"], "by": result["by"]})
    return rows, count


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if pathlib.Path("/proc/cpuinfo").is_file() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def smallest(row):
    return str(row["smallest"]) if row["smallest"] else "its own"


def share(kind):
    return f"{kind['found'] / kind['faces']:.2f}" if kind["faces"] else "–"


def report(about, rows):
    main = [[row["detector"], smallest(row), f"{row['h20']:.4f}", f"{row['h40']:.4f}", f"{row['ms']:.2f}", f"{row['empty']:.2f}", f"{row['crowd']:.2f}"]
            for row in rows]
    head = ["detector", "smallest face", "AP, faces ≥ 20 px", "AP, faces ≥ 40 px", "pictures, ms", "empty, ms", "crowd, ms"]
    parts = [about["text"], table(head, main),
             "Faces found, each detector at its score of one false alarm in ten pictures; but for sizes, of faces from 20 pixels on:"]
    for label in LABELS:
        head = ["detector", "smallest face", *(f"{label} {kind['value']} ({kind['faces']})" for kind in rows[0]["by"]["labels"][label])]
        parts.append(table(head, [[row["detector"], smallest(row), *map(share, row["by"]["labels"][label])] for row in rows]))
    return "\n\n".join(parts) + "\n"


def main():
    data, peers = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    sizes = [int(size) for size in setting("SIZES", "10 14 20 28 40 80").split()]
    OUT.mkdir(parents=True, exist_ok=True)
    names = validation(data)
    wanted = setting("PEERS", "").split() or list(PEERS)
    unknown = [name for name in wanted if name not in PEERS]
    if unknown:
        sys.exit(f"COMPARE_PEERS: {unknown[0]} is none of {', '.join(PEERS)}")
    runs = [Ours(settings, precision, size) for settings in setting("CASCADES", "models/fast.toml models/base.toml models/sure.toml").split()
            for precision in setting("PRECISION", "f32 int8").split() for size in sizes]
    for name in wanted:
        if runs_here(peers, name):
            runs += [Peer(peers, name, size) for size in ([0] if name in ONE_SIZE else sizes)]
    rows, count = measure(runs, data, names)
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    text = (f"{len(names)} pictures of wider/val. Processor ms of a frame of {WIDTH}×{HEIGHT} on one thread, least of {ROUNDS} rounds of {REPEATS}: mean of "
            f"{count} of these pictures, a scene without faces, a crowd of 82 faces. {processor()}, {datetime.date.today()}, {commit or 'no commit'}.")
    if LEFT_OUT:
        text += f" Not here, so left out: {', '.join(LEFT_OUT)}."
    about = {"pictures": len(names), "frames": count, "rounds": ROUNDS, "repeats": int(REPEATS), "false_alarms": float(FALSE_ALARMS),
             "processor": processor(), "commit": commit, "left_out": LEFT_OUT, "text": text}
    results = OUT / "compare.json"
    results.write_text(json.dumps({"about": about, "detectors": rows}, indent=1, ensure_ascii=False) + "\n")
    (OUT / "compare.md").write_text(report(about, rows))
    call(PROGRAM, "eval", "--compared", results, "--out", OUT)
    for row in rows:
        print(f"{row['detector']:<34}{smallest(row):>8}  AP {row['h20']:.4f} {row['h40']:.4f}  {row['ms']:8.2f} ms  empty {row['empty']:8.2f}  crowd {row['crowd']:8.2f}")
    print(f"wrote {OUT / 'compare.md'}, {OUT / 'compare.png'}, {results}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    EVERY, REPEATS, ROUNDS = setting("EVERY", "1"), setting("REPEATS", "3"), int(setting("ROUNDS", "5"))
    LABELLED = ["--by", ",".join(LABELS), "--false-alarms", FALSE_ALARMS, "--least-height", "20", "--json"]
    LEFT_OUT = []
    main()
