"""How soon does one gallery answer when many ask at once?

    python benchmarks/bench_concurrent.py GALLERY [--threads 50] [--seconds 8] [--probes 2000]

Each thread searches for one probe after the other without a pause, as the clients of a server do that wait for an answer:
probes are faces of the gallery with noise. Printed: searches a second, and of what a search took the median, 95 % and 99 %.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np

from vultus.index import Gallery

K = 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("gallery", type=Path)
    arguments.add_argument("--threads", type=int, default=50)
    arguments.add_argument("--seconds", type=float, default=8.0)
    arguments.add_argument("--probes", type=int, default=2000)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    with Gallery.open(given.gallery, create=False) as gallery:
        probes = _probes(gallery, given.probes, given.seed)
        gallery.search(probes[:1], K)
        took = _took(gallery, probes, given.threads, given.seconds)
        stats = gallery.stats()
        gallery.close(snapshot=False)
    half, most, nearly = np.percentile(took, (50, 95, 99)) * 1e3
    print(
        f"{stats.faces} x {stats.dim} {stats.index}, {given.threads} threads: {len(took) / given.seconds:.0f} searches/s, ",
        end="",
    )
    print(f"median {half:.0f} ms, 95 % {most:.0f} ms, 99 % {nearly:.0f} ms")


def _probes(gallery: Gallery, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    faces = gallery.stats().faces
    found = np.stack([gallery.face(int(face)).vector for face in rng.integers(1, faces + 1, count)])
    return found + rng.standard_normal(found.shape).astype(np.float32) * 0.5 / np.sqrt(found.shape[1])


def _took(gallery: Gallery, probes: np.ndarray, threads: int, seconds: float) -> list[float]:
    took: list[list[float]] = [[] for _ in range(threads)]
    begin = threading.Barrier(threads + 1)
    end = time.perf_counter() + 3600

    def ask(which: int) -> None:
        rng = np.random.default_rng(which)
        begin.wait()
        while time.perf_counter() < end:
            probe = probes[rng.integers(len(probes))][None]
            since = time.perf_counter()
            gallery.search(probe, K)
            took[which].append(time.perf_counter() - since)

    clients = [threading.Thread(target=ask, args=(which,)) for which in range(threads)]
    for client in clients:
        client.start()
    begin.wait()
    end = time.perf_counter() + seconds
    for client in clients:
        client.join()
    return [one for mine in took for one in mine]


if __name__ == "__main__":
    main()
