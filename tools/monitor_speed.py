#!/usr/bin/env python3
"""Measures how fast the monitor's page is with many long runs, in headless Chromium: monitor_speed.py [PROGRAM [RUNS [POINTS [SCREENSHOT.png]]]]

Makes RUNS records of POINTS steps in a temporary folder, starts `PROGRAM monitor` on them and opens the page. Prints milliseconds from
the click to the picture: the first paint, all charts, zooming in and out, smoothing, and the longest time that the page was busy.
"""

import base64
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request


def write_run(folder, number, points):
    os.makedirs(folder)
    noise = random.Random(number)
    with open(f"{folder}/net.toml", "w") as file:
        file.write(f'net = "net"\nseed = {number}\n[[round]]\nschedule = {{ steps = {points}, peak = {0.001 * (1 + number)} }}\n')
    with open(f"{folder}/events.jsonl", "w") as file:
        file.write(json.dumps({"event": "start", "stage": "net", "step": 0, "steps": points, "seed": number}) + "\n")
        for step in range(points):
            share = step / points
            loss = 4 + number / 5 + 16 / (1 + step / 500) + noise.gauss(0, 0.4)
            accuracy = 1 - 0.5 / (1 + step / 800) + noise.gauss(0, 0.01)
            rate = 0.005 * (1 + math.cos(math.pi * share))
            event = {"event": "step", "stage": "net", "step": step, "steps": points, "loss": loss, "accuracy": accuracy, "rate": rate,
                     "gradient_norm": abs(noise.gauss(3, 0.8)), "samples": (step + 1) * 32, "samples_per_second": noise.gauss(500, 9),
                     "multiply_adds_per_second": 5e10}
            file.write(json.dumps(event) + "\n")
            if step % 1000 == 999:
                sets = [{"set": "wider/val", "ap_h20": 0.8 * share, "ap_h40": 0.9 * share, "recall_h20": 0.95 * share}]
                event = {"event": "validation", "stage": "net", "step": step + 1, "samples": step * 32, "loss": loss + 0.5,
                         "accuracy": accuracy - 0.05, "sets": sets}
                file.write(json.dumps(event) + "\n")


def call(port, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["value"]


# Waits, in the page, until all visible charts show what is wanted and two frames were drawn; returns milliseconds since `begin`.
SETTLED = """
const [begin, action, done] = arguments;
const t0 = performance.now();
new Function(action)();
const busy = () => document.querySelector('#charts')?.getAttribute('aria-busy') !== 'false' || !document.querySelector('#chart-loss canvas');
const wait = () => busy() ? setTimeout(wait, 4) : requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - (begin ? 0 : t0))));
setTimeout(wait, begin ? 0 : 4);
"""


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "target/release/facecascade"
    runs, points = (int(sys.argv[i]) if len(sys.argv) > i else d for i, d in ((2, 10), (3, 100_000)))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            write_run(f"{folder}/run-{number}", number, points)
        began = time.time()
        monitor = subprocess.Popen([program, "monitor", folder, "--port", "0"], stdout=subprocess.PIPE, text=True)
        url = monitor.stdout.readline().split("at ")[1].split()[0]
        size = sum(os.path.getsize(f"{folder}/run-{n}/events.jsonl") for n in range(runs)) / 1e6
        news = urllib.request.urlopen(url + "api/news")
        for line in news:
            if line.startswith(b"data:"):
                state = json.loads(line[5:])["runs"]
                if len(state) == runs and all(run["read"] == 1 and run["stages"] for run in state):
                    break
        print(f"{runs} runs of {points} steps, {size:.0f} MB, read by the server in {1000 * (time.time() - began):.0f} ms")
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        port = next(int(line.rsplit(" ", 1)[1].strip(". \n")) for line in driver.stdout if "successfully on port" in line)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile", "--window-size=1400,1000"]
        options = {"goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments}}
        session = call(port, "POST", "/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]
        command = lambda name, body: call(port, "POST", f"/session/{session}/{name}", body)
        run = lambda script, *args: command("execute/async", {"script": script, "args": list(args)})
        command("timeouts", {"script": 120_000})
        command("url", {"url": url})
        charts = run(SETTLED, True, "")
        paint = command("execute/sync", {"script": "return performance.getEntriesByName('first-contentful-paint')[0].startTime", "args": []})
        print(f"first paint {paint:.0f} ms, all visible charts drawn {charts:.0f} ms after the page was asked for")
        chart = "document.querySelector('#chart-loss .plot')"
        key = lambda k: f"{chart}.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{k}', bubbles: true }}))"
        slide = lambda v: f"const s = document.querySelector('#smooth'); s.value = {v}; s.dispatchEvent(new Event('input'))"
        for name, action in [("zoom in", key("+")), ("zoom in", key("+")), ("zoom out", key("Escape")), ("smoothing", slide(9)),
                             ("smoothing off", slide(0)), ("logarithmic", "document.querySelector('#log').click()"), ("hide a run", "document.querySelector('#run-list input').click()")]:
            print(f"{name}: {run(SETTLED, False, action):.0f} ms")
        moves = f"""const [done] = arguments; const t = []; let i = 0;
            const one = () => {{ if (i++ === 40) return done(t.sort((a, b) => a - b)); const t0 = performance.now(); {key('ArrowLeft')}; t.push(performance.now() - t0); requestAnimationFrame(one) }}; one()"""
        times = run(moves)
        print(f"cursor: {times[len(times) // 2]:.1f} ms in the middle, {times[-1]:.1f} ms at most")
        if len(sys.argv) > 4:
            picture = command("goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": True}})
            with open(sys.argv[4], "wb") as file:
                file.write(base64.b64decode(picture["data"]))
        call(port, "DELETE", f"/session/{session}")
        driver.kill()
        monitor.kill()


main()
