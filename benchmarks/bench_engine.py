"""How many milliseconds a face or picture does the engine take, and how many do ONNX Runtime, OpenVINO and OpenCV?

    python benchmarks/bench_engine.py [MODEL ...] [--threads 1,2] [--batch 1,32] [--peers ...] [--json]

Exactly `vultus bench engine`, which says the rest with `--help`. A MODEL may also be a ResNet with random weights:
iresnet18, iresnet50, iresnet100, arcface100. Without one: the paper's MobileFaceNet and the default models.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import resnet_onnx

from vultus.cli.main import main


def write(name: str, folder: Path) -> str:
    """The path of a file with the ResNet of that name; any other argument as it is."""
    if name not in resnet_onnx.GENERATED:
        return name
    path = folder / f"{name}.onnx"
    onnx.save(resnet_onnx.GENERATED[name](np.random.default_rng(1)), path)
    return str(path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        arguments = [write(argument, Path(folder)) for argument in sys.argv[1:]]
        sys.exit(main(["bench", "engine", *(arguments or ["paper", "sface_2021dec", "yunet_2023mar"])]))
