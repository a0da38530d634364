"""What does INT8 gain, and what does it cost?

    python benchmarks/bench_int8.py FP32 INT8 [--threads 1] [--batch 8] [--lfw FOLDER] [--seconds 8] [--json]

Speed: both files of one network on the same faces, their calls interleaved, the ratio being the median of the rounds' ratios.
Accuracy, with a FOLDER in the form of LFW (NAME/NAME_0001.jpg and pairs.txt): LFW's protocol, for each of the folds the
share of its pairs that the threshold gets right which is best on the other folds; and the cosine between both files' answers.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from vultus.native import Engine
from vultus.stages.finder import FaceFinder


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


def pairs(folder: Path) -> list[list[tuple[Path, Path, bool]]]:
    """The folds of pairs.txt: two photographs, and whether they show one person."""
    lines = (folder / "pairs.txt").read_text().splitlines()
    folds, each = (int(number) for number in lines[0].split())

    def photo(name: str, number: str) -> Path:
        return folder / name / f"{name}_{int(number):04d}.jpg"

    read = []
    for line in lines[1:]:
        words = line.split()
        same = len(words) == 3
        second = (words[0], words[2]) if same else (words[2], words[3])
        read.append((photo(words[0], words[1]), photo(*second), same))
    return [read[i * 2 * each : (i + 1) * 2 * each] for i in range(folds)]


def chips_of(photos: list[Path]) -> dict[Path, np.ndarray]:
    """The face nearest to the middle of each photograph, aligned; photographs without a face are left out."""
    found = {}
    with FaceFinder() as finder:
        for photo in photos:
            image = finder.read(photo)
            middle = np.array(image.shape[1::-1]) / 2
            faces = finder.find(image)
            if faces:
                away = [np.linalg.norm(np.mean(face.landmarks, axis=0) - middle) for face in faces]
                found[photo] = faces[int(np.argmin(away))].chip
    return found


def accuracy(scores: list[np.ndarray], same: list[np.ndarray]) -> tuple[float, float]:
    """Mean and standard error over the folds, in per cent."""
    results = []
    for i in range(len(scores)):
        others = np.concatenate([score for j, score in enumerate(scores) if j != i])
        truth = np.concatenate([one for j, one in enumerate(same) if j != i])
        steps = np.linspace(-1, 1, 2001)
        best = steps[np.argmax([((others >= step) == truth).mean() for step in steps])]
        results.append(((scores[i] >= best) == same[i]).mean() * 100)
    return float(np.mean(results)), float(np.std(results) / len(results) ** 0.5)


def judge(engines: list[Engine], folder: Path) -> dict[str, object]:
    folds = pairs(folder)
    chips = chips_of(sorted({photo for fold in folds for a, b, _ in fold for photo in (a, b)}))
    faces = np.stack(list(chips.values()))
    vectors = [engine.embed_chips(faces) for engine in engines]
    cosines = (vectors[0] * vectors[1]).sum(1)
    answer: dict[str, object] = {
        "photographs": len(chips),
        "cosine_mean": float(cosines.mean()),
        "cosine_of_the_worst_hundredth": float(np.quantile(cosines, 0.01)),
        "cosine_least": float(cosines.min()),
    }
    for name, own in zip(("fp32", "int8"), vectors, strict=True):
        of = dict(zip(chips, own, strict=True))
        kept = [[(of[a], of[b], same) for a, b, same in fold if a in of and b in of] for fold in folds]
        mean, error = accuracy(
            [np.array([a @ b for a, b, _ in fold]) for fold in kept],
            [np.array([same for _, _, same in fold]) for fold in kept],
        )
        answer[f"{name}_accuracy"], answer[f"{name}_error"] = mean, error
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lfw", type=Path)
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
        result |= judge(engines, args.lfw)
    print(json.dumps(result) if args.json else "\n".join(f"{key}: {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
