"""A gallery in PostgreSQL beside one in a folder, on the same vectors: adding, exact search, HNSW with recall of people.

    python benchmarks/bench_postgres.py postgresql://USER@HOST/DATABASE?schema=bench --faces 100000

Writes into the schema that the address names, which must not be there yet. People are random directions with spread: ten
faces each at a cosine of about 0.5 to their person, probes at the same. The searches of the two galleries take turns, since
whatever else the machine does slows both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from vultus.index import Gallery

FACES_EACH = 10
BATCH = 1000


def spread(rand: np.random.Generator, people: np.ndarray) -> np.ndarray:
    """Faces at a cosine of about 0.7 to their people, so of 0.5 to each other."""
    noise = rand.standard_normal(people.shape, np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return (people + noise).astype(np.float32)


def filled(gallery: Gallery, people: np.ndarray) -> float:
    """Enrol everybody in batches of so many; return faces a second."""
    rand = np.random.default_rng(2)
    begun, count = time.perf_counter(), len(people) * FACES_EACH
    for start in range(0, count, BATCH):
        owners = np.arange(start, start + BATCH) // FACES_EACH
        gallery.enrol_many([f"person {owner:08d}" for owner in owners], spread(rand, people[owners]))
    return count / (time.perf_counter() - begun)


def timed(gallery: Gallery, probe: np.ndarray) -> tuple[float, int | None]:
    """Milliseconds of one search, and the first person."""
    begun = time.perf_counter()
    answer = gallery.search(probe[None], 5)[0]
    return 1e3 * (time.perf_counter() - begun), answer[0].identity


def compared(galleries: dict[str, Gallery], probes: np.ndarray, owners: np.ndarray) -> None:
    """Search in turns; print p50, p95, and how often the first person is right."""
    found: dict[str, list[tuple[float, int | None]]] = {name: [] for name in galleries}
    for gallery in galleries.values():
        gallery.search(probes[:1], 5)
    for probe in probes:
        for name, gallery in galleries.items():
            found[name].append(timed(gallery, probe))
    for name, rows in found.items():
        times = np.sort([spent for spent, _ in rows])
        right = np.mean([who == owner + 1 for (_, who), owner in zip(rows, owners, strict=True)])
        print(
            f"  {name:<16} p50 {np.median(times):8.2f} ms   p95 {times[int(0.95 * len(times))]:8.2f} ms   "
            f"best {times[0]:8.2f} ms   right first {100 * right:.1f}%",
            flush=True,
        )


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--probes", type=int, default=50)
    given = parser.parse_args()
    rand = np.random.default_rng(1)
    people = rand.standard_normal((given.faces // FACES_EACH, given.dim), np.float32)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    owners = rand.integers(0, len(people), given.probes)
    probes = spread(rand, people[owners])
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery.open(given.url) as remote,
        Gallery.open(Path(folder) / "gallery") as local,
    ):
        for name, gallery in (("database", remote), ("folder", local)):
            print(f"{name}: {filled(gallery, people):.0f} faces a second in batches of {BATCH}", flush=True)
        local.convert("flat")
        print(f"{remote.stats().bytes_per_vector} bytes a face (vector and its key) in the database", flush=True)
        compared({"database, exact": remote, "folder, flat": local}, probes, owners)
        begun = time.perf_counter()
        remote.convert("hnsw")
        made = time.perf_counter() - begun
        print(f"HNSW made in {made:.0f} s; {remote.stats().bytes_per_vector} bytes a face with it", flush=True)
        compared({"database, HNSW": remote, "folder, flat": local}, probes, owners)


if __name__ == "__main__":
    main()
