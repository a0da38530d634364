"""What does INT8 gain, and what does it cost?

    python benchmarks/bench_int8.py FP32 INT8 [--threads 1] [--batch 8] [--lfw FOLDER] [--seconds 8] [--json]

Speed: both files of one network on the same faces, their calls interleaved, the ratio being the median of the rounds' ratios.
Accuracy, with a FOLDER in the form of LFW (NAME/NAME_0001.jpg and pairs.txt): LFW's protocol as `vultus evaluate verification`
has it, with 95% intervals, and the cosine between both files' answers.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from vultus.cli.evaluate_faces import FaceReader
from vultus.configs import data_folder
from vultus.configs.schema import Config
from vultus.evaluation import pairs
from vultus.evaluation.trials import MISSED
from vultus.evaluation.verification import verification
from vultus.evaluation.work import WorkFile
from vultus.native import Engine
from vultus.stages.embed import vectors_of


def speed(engines: list[Engine], chips: np.ndarray, seconds: float) -> dict[str, float]:
    """Milliseconds a face, and how many times as fast the second engine is."""
    times: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for engine, taken in zip(engines, times, strict=True):
            start = time.perf_counter()
            engine.embed_chips(chips)
            taken.append((time.perf_counter() - start) * 1e3 / len(chips))
    return {
        "fp32_ms": statistics.median(times[0]),
        "int8_ms": statistics.median(times[1]),
        "fp32_ms_best": min(times[0]),
        "int8_ms_best": min(times[1]),
        "times_as_fast": statistics.median(a / b for a, b in zip(*times, strict=True)),
        "rounds": len(times[0]),
    }


def judge(engines: list[Engine], folder: Path, work: Path) -> dict[str, object]:
    """LFW's protocol with both files, and the cosine between their answers."""
    listed = pairs.read(folder / "pairs.txt")
    with WorkFile(work) as kept, FaceReader(Config(), data_folder(), kept) as reader:
        chips = [reader.chip(pairs.locate(folder, photo)) for photo in listed.photos]
    found = np.array([chip is not None for chip in chips])
    faces = np.stack([chip for chip in chips if chip is not None])
    first, second = listed.pairs.T
    vectors = [vectors_of(engine, faces) for engine in engines]
    cosines = np.einsum("nd,nd->n", *vectors)
    answer: dict[str, object] = {
        "photographs": len(found),
        "without_face": int((~found).sum()),
        "cosine_mean": float(cosines.mean()),
        "cosine_of_the_worst_hundredth": float(np.quantile(cosines, 0.01)),
        "cosine_least": float(cosines.min()),
    }
    for name, own in zip(("fp32", "int8"), vectors, strict=True):
        every = np.zeros((len(found), own.shape[1]), np.float32)
        every[found] = own
        alike = np.where(found[first] & found[second], np.einsum("nd,nd->n", every[first], every[second]), MISSED)
        judged = verification(alike, listed.same, listed.people[listed.pairs], listed.fold)
        answer[f"{name}_accuracy"], answer[f"{name}_between"] = judged.accuracy.mean, judged.accuracy.between
        answer[f"{name}_eer"] = judged.rates.eer
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lfw", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/accuracy.work"), help="keeps faces")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    engines = [Engine(args.fp32, args.threads, precision="fp32"), Engine(args.int8, args.threads, precision="int8")]
    chips = np.random.default_rng(args.seed).integers(0, 256, (args.batch, *engines[0].input_size, 3), dtype=np.uint8)
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    result: dict[str, object] = {
        "processor": next(
            (x.split(": ")[1] for x in cpu.splitlines() if x.startswith("model name")), platform.processor()
        ),
        "load": Path("/proc/loadavg").read_text().split()[0] if cpu else None,
        "threads": args.threads,
        "batch": args.batch,
        "seed": args.seed,
        "bytes": [args.fp32.stat().st_size, args.int8.stat().st_size],
        "memory": [engine.memory for engine in engines],
        **speed(engines, chips, args.seconds),
    }
    if args.lfw:
        result |= judge(engines, args.lfw, args.work)
    print(json.dumps(result) if args.json else "\n".join(f"{key}: {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
