"""What does it cost to look at a camera, and how old is what is seen?

    python benchmarks/bench_live_view.py [--seconds 3] [--turns 2] [--json]

Two films of 1920×1080 at 25 frames a second are sent as cameras would, one after the other: portraits that move about (the
sample photographs), and a still scene with noise. While nobody looks, somebody does, somebody wants every frame (`awake`), or
faces are veiled, `--seconds` each and in turns: the processor time of each process as a share of one core, pictures a second
and their size, and how long after the arrival of its frame a picture, and marks, are handed to whoever reads `Pipeline.shown`.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from vultus.cli.paced import Cameras
from vultus.configs import data_folder
from vultus.configs.schema import Config, Decode
from vultus.pipeline.messages import Item, Marks, Preview, SourceState
from vultus.pipeline.supervisor import Pipeline
from vultus.stages import video
from vultus.weights import Samples

SIZE, RATE = (1920, 1080), 25
PHASES = {"people": ("nobody", "look", "veiled"), "still": ("nobody", "look", "awake")}
LEASE = 1.2


def people(photos: list[Path]) -> Iterator[np.ndarray]:
    portraits = [cv2.imread(str(path)) for path in photos[:2]]
    faces = [cv2.resize(one, (round(one.shape[1] * 400 / one.shape[0]), 400)) for one in portraits if one is not None]
    ground = next(still())
    for number in range(20 * RATE):
        picture = ground.copy()
        for left, face in zip((100, 1000), faces, strict=True):
            x = left + round(300 * (1 + np.sin(number / 60)))
            picture[300 : 300 + face.shape[0], x : x + face.shape[1]] = face[:, : SIZE[0] - x]
        yield picture


def still() -> Iterator[np.ndarray]:
    random = np.random.default_rng(1)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    ground = np.stack([90 + 30 * np.sin(x / 37.0), 100 + 25 * np.cos(y / 23.0), 110 + 20 * np.sin((x + y) / 51.0)], 2)
    for _ in range(4 * RATE):
        yield np.clip(ground + random.normal(0, 2, ground.shape), 0, 255).astype(np.uint8)


def spent(pipeline: Pipeline) -> dict[str, float]:
    """Seconds of processor time of each process; a process's clock has the number that clock_getcpuclockid(3) gives."""
    clocks = {each.group: (~each.pid << 3) | 2 for each in pipeline.metrics() if each.pid is not None}
    return {"caller": time.process_time(), **{name: time.clock_gettime(clock) for name, clock in clocks.items()}}


class Watch:
    """A job with one camera, and what it showed lately."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.shown: list[tuple[float, Preview | Marks]] = []

    def read(self) -> None:
        for one in self.pipeline.shown():
            self.shown.append((time.time() - one.time, one))

    def phase(self, name: str, seconds: float) -> dict[str, object]:
        time.sleep(LEASE + 0.2)  # until the lease of the phase before is over
        self._renew(name, 0.5)
        self.shown.clear()
        before, begin = spent(self.pipeline), time.monotonic()
        self._renew(name, seconds)
        after, passed = spent(self.pipeline), time.monotonic() - begin
        pictures = [(age, one) for age, one in self.shown if isinstance(one, Preview)]
        marks = [age for age, one in self.shown if isinstance(one, Marks)]
        return {
            "phase": name,
            "core_percent": {each: round(100 * (after[each] - before[each]) / passed, 1) for each in before},
            "pictures_a_second": round(len(pictures) / passed, 1),
            "kilobytes": round(float(np.mean([len(one.jpeg) for _, one in pictures] or [0])) / 1000),
            "picture_ms": quantiles([age for age, _ in pictures]),
            "marks_ms": quantiles(marks),
        }

    def _renew(self, name: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if name != "nobody":
                self.pipeline.view(1, LEASE, veiled=name == "veiled", awake=name == "awake")
            time.sleep(min(left, 0.4))


def quantiles(ages: list[float]) -> list[float]:
    """Median and 95 %, milliseconds."""
    return [round(1000 * float(age), 1) for age in np.percentile(ages, [50, 95])] if ages else []


def measured(film: Path, name: str, seconds: float, turns: int) -> Iterator[dict[str, object]]:
    with TemporaryDirectory() as folder, Cameras([film]) as cameras:
        config = Config(gallery=f"{folder}/g", decode=Decode(idle_after=2.0))
        item = Item(item=1, attempt=0, kind="camera", source=name, address=cameras.address(0))
        with Pipeline(config, config.pipeline.watch, live_sources=1, has_files=False) as pipeline:
            watch, connected = Watch(pipeline), threading.Event()

            def run() -> None:
                for result in pipeline.run([item]):
                    if isinstance(result, SourceState) and result.state == "connected":
                        connected.set()

            threads = [threading.Thread(target=run), threading.Thread(target=watch.read)]
            for thread in threads:
                thread.start()
            connected.wait(30)
            time.sleep(3.0)
            for _ in range(turns):
                for phase in PHASES[name]:
                    yield {"film": name, **watch.phase(phase, seconds)}
            pipeline.stop()
            for thread in threads:
                thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--film", choices=sorted(PHASES), action="append")
    parser.add_argument("--folder", type=Path, help="keep the films here")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        for name in given.film or PHASES:
            film = folder / f"{name}.mp4"
            if not film.exists():
                pictures = (
                    people(sorted(Samples(data_folder()).pull().glob("person_*_1.jpg")))
                    if name == "people"
                    else still()
                )
                video.write(film, pictures, RATE, 2.0)
            for row in measured(film, name, given.seconds, given.turns):
                print(
                    json.dumps(row) if given.json else "  ".join(f"{key} {value}" for key, value in row.items()),
                    flush=True,
                )


if __name__ == "__main__":
    main()
