"""How long does the detector's network take: the engine against ONNX Runtime, one thread, from uint8 pictures to heads?

Both get the same padded BGR picture. ONNX Runtime's time includes OpenCV's blobFromImage, which turns it into planes; the
engine does that itself. Rounds are interleaved; the ratio is the median of the rounds' ratios.

    python benchmarks/bench_detect.py [--rounds 40] [--size 320x320 ...] [MODEL]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from vultus.configs.schema import Config
from vultus.native import Network
from vultus.weights import Registry


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def compare(path: Path, width: int, height: int, rounds: int) -> str:
    """A line: milliseconds at best and in the median, and how many times faster the engine is."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    network = Network(path, threads=1)
    picture = np.random.default_rng(1).integers(0, 256, (1, height, width, 3), np.uint8)
    ours, theirs = [], []
    for _ in range(rounds + 3):
        ours.append(milliseconds(lambda: network.run(picture)))
        theirs.append(milliseconds(lambda: session.run(None, {name: cv2.dnn.blobFromImage(picture[0])})))
    ours, theirs = ours[3:], theirs[3:]
    ratio = np.median(np.divide(theirs, ours))
    return (
        f"{width:5} x {height:<5} engine {min(ours):7.2f} {np.median(ours):7.2f}   onnxruntime {min(theirs):7.2f} "
        f"{np.median(theirs):7.2f}   {ratio:.2f} times as fast   {network.memory['per_thread'] / 1e6:.1f} MB a thread"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--size", nargs="*", default=["320x320", "640x480", "1280x960"])
    arguments = parser.parse_args()
    path = arguments.model
    if path is None:
        path = Registry(Path(os.environ["VULTUS_HOME"])).resolve(Config().models.detector, "detector").path
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; milliseconds: best, median")
    for size in arguments.size:
        width, height = map(int, size.split("x"))
        print(compare(path, width, height, arguments.rounds))


if __name__ == "__main__":
    main()
