"""What does a stage on another host cost? Frames and chips a second, and bytes on the wire, against the same stage on this one.

The other host is a network namespace at the other end of a veth pair, its worker a `Hosted` as `vultus worker` runs it, with
CURVE keys. The stages make and take real messages and compute nothing, so what is measured is the way. Both ways in turns;
bytes are those of the interface, with everything that TCP and encryption add. Needs root, for the namespace.
Run: python benchmarks/bench_network.py [rounds]
"""

from __future__ import annotations

import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from bench_hop import origin

from vultus.configs.schema import Config, Group, Host, Network
from vultus.pipeline import keys
from vultus.pipeline.frames import Image
from vultus.pipeline.hosted import Assignment, Hosted
from vultus.pipeline.messages import (
    Chips,
    Detections,
    Embedded,
    Face,
    Frame,
    Item,
    ItemDone,
    ItemEnd,
    TrackedFace,
)
from vultus.pipeline.pixels import Layout
from vultus.pipeline.supervisor import Pipeline

HERE, THERE, PORT = "198.18.214.1", "198.18.214.2", 18471
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
NAME, LINK = f"vultus-bench-{os.getpid()}", f"vb{os.getpid() % 10**6}"
FACE = Face(box=(800, 300, 120, 150), landmarks=((830, 350), (890, 350), (860, 380), (835, 410), (885, 410)), score=0.9)
LOOK = TrackedFace(face=FACE, track=1, quality=0.7)
LAYOUT = Layout(format="yuv420p", width=1920, height=1080, strides=(1920, 960, 960), full_range=False, matrix="bt709")
WHAT = {"frame": ("detect", 200), "chip": ("embed", 2000)}
"""The stage that is elsewhere, and how many messages."""


class Make:
    """1080p frames, or one chip a message."""

    name = "decode"

    def open(self, _context):
        noise = np.random.default_rng(1)
        planes = [[noise.integers(0, 256, size, np.uint8) for size in LAYOUT.sizes] for _ in range(4)]
        self.images = [Image.planar(LAYOUT, chunks) for chunks in planes]
        self.chips = noise.integers(0, 256, (4, 1, 112, 112, 3), np.uint8)

    def process(self, batch):
        for item in batch:
            what, _, count = item.address.partition(" ")
            for seq in range(int(count)):
                if what == "frame":
                    yield Frame(origin=origin(item, seq), image=self.images[seq % 4])
                else:
                    yield Chips(origin=origin(item, seq), faces=(LOOK,), chips=self.chips[seq % 4])
            yield ItemEnd(origin=origin(item, int(count)))

    def close(self):
        pass


class Answer:
    """A detector that finds one face, or an embedder; it has looked at the pixels."""

    def __init__(self, name):
        self.name = name

    def open(self, _context):
        self.vectors = np.full((1, 128), 128**-0.5, np.float32)

    def process(self, batch):
        for message in batch:
            if isinstance(message, Frame):
                assert message.image.chunks[0][-1] >= 0
                yield Detections(origin=message.origin, image=message.image, faces=(FACE,))
            elif isinstance(message, Chips):
                yield Embedded(origin=message.origin, faces=message.faces, chips=message.chips, vectors=self.vectors)
            else:
                yield message

    def close(self):
        pass


class Take:
    """The last stage."""

    name = "store"

    def open(self, _context):
        pass

    def process(self, batch):
        for message in batch:
            if isinstance(message, ItemEnd):
                yield ItemDone(item=message.origin.item, attempt=0, source="x", status="done")

    def close(self):
        pass


def build(name, _config):
    return {"decode": Make, "store": Take}[name]() if name in ("decode", "store") else Answer(name)


def models(_stage, _config):
    return {}


def group(stage, *, far):
    there = {"hosts": ("attic",), "listen": f"tcp://{HERE}:{PORT}"} if far else {}
    return Group(name=stage, stages=(stage,), max_batch=8 if stage == "detect" else 32, **there)


def work(config_file, stage):
    """The other host's side; runs there."""
    config = msgspec.json.decode(Path(config_file).read_bytes(), type=Config)
    where = Assignment("bench", group(stage, far=True), f"tcp://{HERE}:{PORT}")
    Hosted(
        config, [where], lambda title, text: print(title, text, file=sys.stderr), factory="bench_network:build"
    ).run()


@contextmanager
def namespace():
    commands = (
        f"ip netns add {NAME}",
        f"ip link add {LINK}a type veth peer name {LINK}b netns {NAME}",
        f"ip addr add {HERE}/30 dev {LINK}a",
        f"ip link set {LINK}a up",
        f"ip -n {NAME} addr add {THERE}/30 dev {LINK}b",
        f"ip -n {NAME} link set {LINK}b up",
    )
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"`{command}`: {done.stderr.strip()} (this benchmark needs root)")
        yield
    finally:
        for number in ENDS:  # who is impatient shall not leave half of it behind
            signal.signal(number, signal.SIG_IGN)
        # The link ends with the namespace, but that with its last process, which may take a moment.
        for command in (f"ip link del {LINK}a", f"ip netns del {NAME}"):
            subprocess.run(command.split(), capture_output=True)


def end(number, _frame):
    """What a signal means: an end on which everything is put away."""
    raise SystemExit(128 + number)


def carried():
    """Bytes that went either way so far: to the other host, and back."""
    folder = Path(f"/sys/class/net/{LINK}a/statistics")
    return np.array([int((folder / name).read_text()) for name in ("tx_bytes", "rx_bytes")])


def measure(config, what, *, far):
    """Messages a second, and bytes to the other host and back for each."""
    stage, count = WHAT[what]
    groups = (
        Group(name="make", stages=("decode",), queue=8),
        group(stage, far=far),
        Group(name="take", stages=("store",), max_batch=32),
    )
    items = (
        Item(item=n, attempt=0, kind="video", source="x", address=f"{what} {many}")
        for n, many in enumerate((count // 10, count))
    )
    before = carried()
    with Pipeline(config, groups, factory="bench_network:build") as job:
        times = [time.perf_counter() for result in job.run(items) if isinstance(result, ItemDone)]
    return count / (times[1] - times[0]), (carried() - before) / (count + count // 10)


def main():
    for number in ENDS:
        signal.signal(number, end)
    with tempfile.TemporaryDirectory(prefix="vultus-bench-") as folder:
        compare(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else 3)


def compare(folder, rounds):
    """Both ways in turns, with the keys of both in `folder`."""
    main_keys, attic = keys.create(folder / "main.key"), keys.create(folder / "attic.key")
    network = Network(
        main_key=main_keys.public, hosts=(Host(name="attic", key=attic.public),), key_file=str(folder / "main.key"),
        retry_first=0.05, retry_max=0.1,
    )  # fmt: skip
    config = Config(network=network)
    theirs = msgspec.structs.replace(network, key_file=str(folder / "attic.key"))
    (folder / "attic.json").write_bytes(msgspec.json.encode(Config(network=theirs)))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    with namespace():
        for what, (stage, _) in WHAT.items():
            command = [sys.executable, __file__, "--work", str(folder / "attic.json"), stage]
            worker = subprocess.Popen(["ip", "netns", "exec", NAME, *command])
            try:
                pairs = [(measure(config, what, far=False), measure(config, what, far=True)) for _ in range(rounds)]
            finally:
                worker.terminate()
                worker.wait()
            near, far = ([pair[side][0] for pair in pairs] for side in (0, 1))
            there, back = statistics.median([tuple(pair[1][1]) for pair in pairs])
            ratio = statistics.median(b / a for a, b in zip(near, far, strict=True))
            print(
                f"{what}s a second: this host {statistics.median(near):8.0f}, another {statistics.median(far):8.0f} "
                f"(median of ratios {ratio:.2f}); bytes a {what}: {there:9.0f} there, {back:6.0f} back"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
    else:
        main()
