#!/usr/bin/env python3
"""Writes what deface (PyPI) covers, at its defaults, as JSON lines for `facecascade eval --redaction --beside`.

  python3 -m venv venv && venv/bin/pip install deface onnxruntime
  venv/bin/pip install onnx
  venv/bin/python tools/deface_boxes.py LIST.txt deface.jsonl        LIST.txt: one path of a picture a line
  facecascade eval --redaction --data DIR --beside deface=deface.jsonl,margin=0

Each line is {"image", "width", "height", "ms", "boxes": [[x, y, w, h, score], ...]}. The boxes are those round deface's
ellipses: CenterFace's, grown by 0.3 of their width and height on each side, as deface does.
"""
import json
import sys
import time

import cv2
from deface.centerface import CenterFace


# deface's default --mask-scale is 1.3, its --thresh 0.2.
GROWN = 0.3


def main():
    centerface = CenterFace(in_shape=None, backend="onnxrt")
    out = open(sys.argv[2], "w", encoding="utf-8")
    for path in open(sys.argv[1], encoding="utf-8"):
        path = path.rstrip("\n")
        picture = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        start = time.perf_counter()
        found, _ = centerface(picture, threshold=0.2)
        ms = (time.perf_counter() - start) * 1e3
        boxes = []
        for x, y, right, bottom, score in found.tolist():
            w, h = right - x, bottom - y
            boxes.append([round(v, 2) for v in (x - GROWN * w, y - GROWN * h, (1 + 2 * GROWN) * w, (1 + 2 * GROWN) * h)]
                         + [round(score, 4)])
        height, width = picture.shape[:2]
        line = {"image": path, "width": width, "height": height, "ms": round(ms, 2), "boxes": boxes}
        print(json.dumps(line), file=out)
    out.close()


if __name__ == "__main__":
    main()
