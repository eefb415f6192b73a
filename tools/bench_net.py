#!/usr/bin/env python3
"""Runs YuNet's published net, as it lies beside peers.py, on ONNX Runtime and one thread: for `cargo bench --bench nets`.

usage: bench_net.py PEERS_FOLDER HEIGHT WIDTH      (multiples of 32, pixels)

Each line of its input is a number of runs; it answers with the nanoseconds that they took. Its first answer, to no line, is an
empty one: the net is there."""
import pathlib
import sys
import time

import numpy
import onnxruntime

folder, height, width = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
net = onnxruntime.InferenceSession(folder / "weights" / "yunet_n_dynamic.onnx", options, providers=["CPUExecutionProvider"])
picture = numpy.random.default_rng(1).integers(0, 256, (1, 3, height, width)).astype(numpy.float32)

print(flush=True)
for line in sys.stdin:
    begin = time.perf_counter_ns()
    for _ in range(int(line)):
        net.run(None, {"input": picture})
    print(time.perf_counter_ns() - begin, flush=True)
