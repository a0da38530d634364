"""What does the gallery cost over the bare FAISS index, and how fast does it open and take in faces?

Measured on synthetic embeddings with structure: people are random directions, their faces lie about 0.6 (cosine) from
each other, probes are further faces of people in the gallery. The same vectors go into a bare `faiss.IndexFlatIP`;
searches of the two alternate call by call, so that a noisy machine is noisy for both.

    python benchmarks/bench_gallery.py [--faces 100000] [--dim 128] [--per-person 10] [--k 5] [--threads 1] [--json]

The files lie in a temporary folder (TMPDIR chooses the disk, whose fsync bounds the small batches) and are read back
through a warm page cache.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import msgspec
import numpy as np

from vultus.index import Gallery

CALLS = 200


class Timing(msgspec.Struct):
    """Milliseconds of a call."""

    p50: float
    p99: float


class Result(msgspec.Struct):
    """Everything measured in one run."""

    machine: dict[str, str | int]
    options: dict[str, int]
    added_per_second: dict[str, float]
    """By batch size, acknowledged (on disk)."""
    bare_added_per_second: float
    open_snapshot_s: float
    """`Gallery.open` and the first answer."""
    open_rebuild_s: float
    close_snapshot_s: float
    search: dict[str, dict[str, Timing]]
    """By batch size: gallery, bare."""
    ratio_p50: dict[str, float]
    same_first_person: float
    """Share of probes for which the person of bare FAISS's first hit is the gallery's first match; 1 but for ties."""
    remove_face_ms: float
    search_after_remove_ms: float
    bytes_per_vector: int
    disk_bytes_per_face: float
    peak_rss_mb: float


def machine() -> dict[str, str | int]:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(line.split(":")[1].split() for line in info if line.startswith("flags"))
    return {
        "cpu": next(line.split(":")[1].strip() for line in info if line.startswith("model name")),
        "cores": sum(line.startswith("processor") for line in info),
        "flags": " ".join(flag for flag in ("avx2", "fma", "f16c", "avx512f", "avx512_vnni") if flag in flags),
        "load before": Path("/proc/loadavg").read_text().split()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "faiss": faiss.__version__,
        "sqlite": sqlite3.sqlite_version,
    }


def make_vectors(rand: np.random.Generator, faces: int, dim: int, per_person: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces and as many probes as are searched, `(n, dim)` float32 of length 1."""
    centres = rand.standard_normal((-(-faces // per_person), dim)).astype(np.float32)

    def seen(people: np.ndarray) -> np.ndarray:
        rows = centres[people] + 0.8 * rand.standard_normal((len(people), dim), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return seen(np.arange(faces) // per_person), seen(rand.integers(0, len(centres), 1024))


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def in_turns(calls: dict[str, Callable[[int], object]], count: int) -> dict[str, Timing]:
    """Time each call `count` times, in turns; the first of each is thrown away."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for at in range(count + 1):
        for name, call in calls.items():
            taken[name].append(timed(lambda call=call, at=at: call(at)) * 1e3)
    return {
        name: Timing(statistics.median(times[1:]), float(np.quantile(times[1:], 0.99))) for name, times in taken.items()
    }


def add_all(gallery: Gallery, rows: np.ndarray, per_person: int) -> dict[str, float]:
    """Enrol everything, a little of it in small batches; return faces a second by batch size."""
    rates, done = {}, 0
    for batch, count in ((1, 100), (100, 2000), (1000, len(rows))):
        end = min(len(rows), done + count)
        begun, first = time.perf_counter(), done
        while done < end:
            part = slice(done, min(end, done + batch))
            gallery.enrol_many([f"person {at // per_person}" for at in range(part.start, part.stop)], rows[part])
            done = part.stop
        rates[str(batch)] = (done - first) / (time.perf_counter() - begun)
    return rates


def opened(folder: Path, probe: np.ndarray) -> float:
    def first_answer() -> None:
        gallery = Gallery.open(folder, create=False)
        gallery.search(probe, 1)
        gallery.close(snapshot=False)

    return statistics.median(timed(first_answer) for _ in range(5))


def run(options: argparse.Namespace) -> Result:
    about = machine()
    faiss.omp_set_num_threads(options.threads)
    rows, probes = make_vectors(np.random.default_rng(options.seed), options.faces, options.dim, options.per_person)
    bare = faiss.IndexFlatIP(options.dim)
    bare_adding = timed(lambda: bare.add(rows))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "gallery"
        gallery = Gallery.open(folder, model="benchmark")
        rates = add_all(gallery, rows, options.per_person)
        closing = timed(lambda: gallery.close(snapshot=True))
        from_snapshot = opened(folder, probes[:1])
        (folder / "faces.snapshot").unlink()
        rebuild = opened(folder, probes[:1])
        with Gallery.open(folder) as gallery:
            search = {}
            for batch in (1, 32):
                parts = [probes[at : at + batch] for at in range(0, len(probes) - batch, batch)]
                calls = {
                    "gallery": lambda at, parts=parts: gallery.search(parts[at % len(parts)], options.k),
                    "bare": lambda at, parts=parts: bare.search(parts[at % len(parts)], options.k),
                }
                search[str(batch)] = in_turns(calls, CALLS if batch == 1 else CALLS // 4)
            first = [answer[0].name for answer in gallery.search(probes, 1)]
            hits = bare.search(probes, 1)[1][:, 0] // options.per_person
            removing, after = [], []
            for face in range(1, 21):
                removing.append(timed(lambda face=face: gallery.remove_faces([face])))
                after.append(timed(lambda: gallery.search(probes[:1], options.k)))
            stats = gallery.stats()
            gallery.close(snapshot=True)
        disk = sum(path.stat().st_size for path in folder.iterdir())
    return Result(
        machine=about,
        options={name: getattr(options, name) for name in ("faces", "dim", "per_person", "k", "threads", "seed")},
        added_per_second=rates,
        bare_added_per_second=len(rows) / bare_adding,
        open_snapshot_s=from_snapshot,
        open_rebuild_s=rebuild,
        close_snapshot_s=closing,
        search=search,
        ratio_p50={batch: timings["gallery"].p50 / timings["bare"].p50 for batch, timings in search.items()},
        same_first_person=float(np.mean([name == f"person {hit}" for name, hit in zip(first, hits, strict=True)])),
        remove_face_ms=statistics.median(removing) * 1e3,
        search_after_remove_ms=statistics.median(after) * 1e3,
        bytes_per_vector=stats.bytes_per_vector,
        disk_bytes_per_face=disk / stats.faces,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def show(result: Result) -> None:
    for title, values in (("machine", result.machine), ("options", result.options)):
        print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
    print()
    for batch, rate in result.added_per_second.items():
        print(f"adding, {batch:>4} a commit     {rate:12,.0f} faces/s acknowledged")
    print(f"adding, bare FAISS        {result.bare_added_per_second:12,.0f} faces/s, in memory only")
    print(f"open to first answer      {result.open_snapshot_s * 1e3:12.1f} ms from the snapshot")
    print(f"                          {result.open_rebuild_s * 1e3:12.1f} ms from the database")
    print(f"close with a snapshot     {result.close_snapshot_s * 1e3:12.1f} ms")
    for batch, timings in result.search.items():
        for name, timing in timings.items():
            print(f"search, batch {batch:>2}, {name:<8} {timing.p50:12.2f} ms p50 {timing.p99:10.2f} ms p99")
        print(f"                ratio p50 {result.ratio_p50[batch]:12.2f}")
    print(f"same first person         {result.same_first_person * 100:12.2f} %")
    print(
        f"remove a face             {result.remove_face_ms:12.2f} ms, next search {result.search_after_remove_ms:.2f} ms"
    )
    print(
        f"memory                    {result.bytes_per_vector:12} bytes a face; peak of this process {result.peak_rss_mb:.0f} MB"
    )
    print(f"disk                      {result.disk_bytes_per_face:12.0f} bytes a face with the snapshot")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--per-person", type=int, default=10)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    result = run(parser.parse_args())
    if "--json" in sys.argv:
        print(json.dumps(msgspec.to_builtins(result)))
    else:
        show(result)


if __name__ == "__main__":
    main()
