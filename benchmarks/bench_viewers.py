"""How dear are viewers of a live page: the server's processor time for 0, 1 and 20 pages that show one camera.

Against a `vultus serve` that runs and watches it; the pages are sockets of this process:

    python benchmarks/bench_viewers.py http://127.0.0.1:8470 --pid PID --camera 1 [--viewers 0 1 20] [--seconds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import struct
import time
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

_HEADER = struct.Struct(">BBHHHIId")


class Page:
    """One viewer: what came, and how old it was."""

    def __init__(self) -> None:
        self.pictures = self.bytes = 0
        self.ages: list[float] = []

    async def look(self, socket: ClientConnection, camera: int, *, large: bool) -> None:
        """Take what comes, and say five times a second how far one is, as the page does."""
        await socket.send(json.dumps({"cameras": [camera], "large": camera if large else None}))
        said = 0.0
        async for message in socket:
            if isinstance(message, str):
                continue
            *_, number, when = _HEADER.unpack_from(message)
            self.pictures += 1
            self.bytes += len(message)
            self.ages.append(time.time() - when)
            if time.monotonic() - said > 0.2:
                said = time.monotonic()
                await socket.send(json.dumps({"got": number}))


def processor_time(pid: int) -> tuple[float, float]:
    """Seconds that a process used so far, and those of its children that run."""

    def own(one: int) -> float:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return own(pid), sum(map(own, children))


async def measure(url: str, pid: int, camera: int, viewers: int, seconds: float, *, large: bool) -> None:
    """Let so many look, and print what it took."""
    pages = [Page() for _ in range(viewers)]
    sockets = [await connect(f"{url.replace('http', 'ws', 1)}/api/v1/live", compression=None) for _ in pages]
    looking = [
        asyncio.create_task(page.look(socket, camera, large=large)) for page, socket in zip(pages, sockets, strict=True)
    ]
    await asyncio.sleep(3)
    for page in pages:
        page.pictures = page.bytes = 0
        page.ages.clear()
    before, begun = processor_time(pid), time.monotonic()
    await asyncio.sleep(seconds)
    after, took = processor_time(pid), time.monotonic() - begun
    server, stages = ((new - old) / took for new, old in zip(after, before, strict=True))
    line = f"{viewers:3} viewers: server {server:6.1%} of a core, stage processes {stages:6.1%}"
    if pages:
        rates = [page.pictures / took for page in pages]
        ages = sorted(age for page in pages for age in page.ages)
        line += (
            f"; {min(rates):.1f} to {max(rates):.1f} pictures a second each, "
            f"{sum(page.bytes for page in pages) / took / 1e6:.1f} MB a second altogether, "
            f"age median {statistics.median(ages) * 1e3:.0f} ms, p99 {ages[int(0.99 * len(ages))] * 1e3:.0f} ms"
        )
    print(line)
    for task in looking:
        task.cancel()
    await asyncio.gather(*looking, return_exceptions=True)
    for socket in sockets:
        await socket.close()


async def main() -> None:
    """One line for each number of viewers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--camera", type=int, default=1)
    parser.add_argument("--viewers", type=int, nargs="+", default=[0, 1, 20])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--large", action="store_true", help="the camera is shown large, so decoded in full")
    given = parser.parse_args()
    for viewers in given.viewers:
        await measure(given.url, given.pid, given.camera, viewers, given.seconds, large=given.large)


if __name__ == "__main__":
    asyncio.run(main())
