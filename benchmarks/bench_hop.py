"""What does it cost to move a 1080p frame from one stage process to the next?

Two real processes, real sockets, real shared memory: the first makes frames, the second looks at one row of each. Compared
with one `memcpy` of a frame, which no way between processes can be cheaper than that leaves the decoder its buffer.
Run: python benchmarks/bench_hop.py [frames]
"""

from __future__ import annotations

import os
import platform
import sys
import time

import numpy as np

from vultus.configs.schema import Config, Group
from vultus.pipeline.frames import Image
from vultus.pipeline.messages import Frame, Item, ItemDone, ItemEnd, Origin
from vultus.pipeline.supervisor import Pipeline

SHAPE = (1080, 1920, 3)


class Make:
    """Frames from four buffers in turn."""

    name = "decode"

    def open(self, _context):
        self.buffers = [np.full(SHAPE, n, np.uint8) for n in range(4)]

    def process(self, batch):
        for item in batch:
            for seq in range(int(item.address)):
                yield Frame(origin=origin(item, seq), image=Image(self.buffers[seq % 4]))
            yield ItemEnd(origin=origin(item, 0))

    def close(self):
        pass


class Look:
    """Reads a row of each frame and measures how old it is."""

    name = "detect"

    def open(self, context):
        self.context = context

    def process(self, batch):
        for message in batch:
            if isinstance(message, Frame):
                assert message.image.array[540].mean() == message.origin.seq % 4
                self.context.count("age_us", int(1e6 * (time.time() - message.origin.time)))
            else:
                yield ItemDone(item=message.origin.item, attempt=0, source="x", status="done")

    def close(self):
        pass


def origin(item, seq):
    return Origin(item=item.item, attempt=item.attempt, source=item.source, seq=seq, live=False, time=time.time())


def build(name, _config):
    return {"decode": Make, "detect": Look}[name]()


def memcpy_us():
    """Between as many buffers as the job has, so that the caches help as little."""
    sources = [np.full(SHAPE, n, np.uint8) for n in range(4)]
    targets = [np.zeros(SHAPE, np.uint8) for _ in range(Config().pipeline.frame_slots)]
    times = []
    for n in range(200):
        start = time.perf_counter()
        targets[n % len(targets)][...] = sources[n % 4]
        times.append(time.perf_counter() - start)
    return 1e6 * sorted(times)[len(times) // 2]


def main():
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    groups = (Group(name="make", stages=("decode",), queue=2), Group(name="look", stages=("detect",), max_batch=4))
    items = (
        Item(item=n, attempt=0, kind="video", source="x", address=str(count)) for n, count in ((0, 50), (1, frames))
    )
    with Pipeline(Config(), groups, factory="bench_hop:build") as pipeline:
        ends = [time.perf_counter() for _ in pipeline.run(items)]
    seconds = ends[1] - ends[0]
    copy = memcpy_us()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"memcpy of a 1080p frame (median)   {copy:8.0f} µs")
    print(f"one frame, process to process      {1e6 * seconds / frames:8.0f} µs   ({frames / seconds:.0f} frames/s)")
    for worker in pipeline.metrics():
        print(
            f"processor time of {worker.group:<17}{1e6 * worker.counters.cpu / frames:8.0f} µs a frame, start included"
        )
    look = pipeline.metrics()[1].counters
    print(f"from made to looked at (mean, queues full) {look.counts['age_us'] / (frames + 50) / 1e3:.1f} ms")


if __name__ == "__main__":
    main()
