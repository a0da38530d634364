"""How soon does `vultus serve` answer when many ask at once?

    python benchmarks/bench_server.py FOLDER [--faces 1000000] [--clients 50] [--seconds 20] [--by face|photo]

Makes a gallery of so many faces of the default embedder's size in FOLDER (people in random directions with spread, ten faces
each; kept there, so that a second run starts at once), starts the server over it as a process of its own, and lets so many
clients ask one after the other without a pause, each over a connection that stays open: for whom a stored face resembles
(`face`), or who is on a photograph of the samples (`photo`, which is detection and embedding above all). Printed: requests
a second, median, 95 % and 99 % of what one took, and whatever was not answered with 200. The clients run on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np

from vultus.cli.gallery_contenders import spread
from vultus.configs.loader import data_folder
from vultus.configs.schema import Models
from vultus.configs.serving import Limits
from vultus.index import Gallery
from vultus.weights import Registry, Samples

_COMMIT = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--by", choices=("face", "photo"), default="face")
    parser.add_argument("--index", default="auto")
    parser.add_argument("--at-once", type=int, default=Limits().searches, help="serve.limits.searches")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    place = given.folder / f"gallery-{given.faces}"
    if not place.exists():
        _make(place, given.faces, given.index, given.seed)
    took, wrong = _asked(place, given)
    half, most, nearly = np.percentile(took, (50, 95, 99)) * 1e3
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}"
        f", seed {given.seed}\n"
        f"{given.faces} faces, {given.clients} clients by {given.by}: {len(took) / given.seconds:.0f} requests/s, "
        f"median {half:.0f} ms, 95 % {most:.0f} ms, 99 % {nearly:.0f} ms; not answered: {wrong}"
    )


def _make(place: Path, count: int, index: str, seed: int) -> None:
    model = Registry(data_folder()).resolve(Models().embedder, "embedder")
    assert model.dim is not None
    faces = spread(count, model.dim, 10, 0, 0.6, np.random.default_rng(seed))
    begun = time.perf_counter()
    with Gallery.open(place, model=model.fingerprint) as gallery:
        for start in range(0, count, _COMMIT):
            part = slice(start, start + _COMMIT)
            gallery.enrol_many([f"person {number}" for number in faces.people[part]], faces.rows[part])
        kind = gallery.convert(index)
    print(f"made in {time.perf_counter() - begun:.0f} s, {kind}")


def _asked(place: Path, given: argparse.Namespace) -> tuple[list[float], int]:
    command = [sys.executable, "-m", "vultus.cli.entry", "serve", "--gallery", str(place), "--listen", "127.0.0.1:0"]
    config = given.folder / "serve.yaml"
    limits = f"{{rate: 100000, burst: 100000, searches: {given.at_once}}}"
    config.write_text(f"serve:\n  folder: {given.folder / 'server'}\n  limits: {limits}\n")
    with subprocess.Popen([*command, "--config", str(config)], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(line for line in server.stderr if line.startswith("http")).strip()
        # What it logs is read, or it would wait for room in the pipe.
        log = (given.folder / "server.log").open("w")
        reader = subprocess.Popen(["cat"], stdin=server.stderr, stdout=log)
        try:
            httpx.get(f"{address}readyz", timeout=120).raise_for_status()
            return asyncio.run(_load(address, given))
        finally:
            server.terminate()
            server.wait(30)
            reader.wait()
            log.close()


async def _load(address: str, given: argparse.Namespace) -> tuple[list[float], int]:
    host, port = address.removeprefix("http://").rstrip("/").rsplit(":", 1)
    rand = np.random.default_rng(given.seed)
    photo = (Samples(data_folder()).pull() / "person_a_2.jpg").read_bytes() if given.by == "photo" else b""
    took: list[float] = []
    wrong = 0

    def request() -> bytes:
        if given.by == "face":
            face = rand.integers(1, given.faces + 1)
            return f"GET /api/v1/faces/{face}/matches?k=5 HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        part = (
            b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n' + photo + b"\r\n--b--\r\n"
        )
        head = f"POST /api/v1/search?k=5 HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(part)}\r\n"
        return head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + part

    async def ask(until: float, keep: bool) -> None:
        nonlocal wrong
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < until:
            begun = time.perf_counter()
            writer.write(request())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            if keep:
                took.append(time.perf_counter() - begun)
                wrong += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    await ask(time.perf_counter() + 2, keep=False)  # the index is loaded by the first search
    until = time.perf_counter() + given.seconds
    await asyncio.gather(*(ask(until, keep=True) for _ in range(given.clients)))
    return took, wrong


if __name__ == "__main__":
    main()
