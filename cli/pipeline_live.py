"""Several cameras at once, at their own pace: who is named, how soon, and what it takes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from vultus.cli.film_judge import Said, Verdict, demanded, first_clear, judge, visit_of
from vultus.cli.paced import Cameras
from vultus.cli.pipeline_contenders import counted
from vultus.cli.scenes import RATE, Film
from vultus.configs.schema import Config
from vultus.pipeline.messages import Item, Sighting, SourceState
from vultus.pipeline.metrics import WorkerMetrics, age_quantile, resident
from vultus.pipeline.supervisor import Pipeline

_WARM = 4.0
"""Seconds after the last camera connected before anything counts."""
_SAMPLES = 1000
"""At most, about: of what is kept for hours, a run would see itself grow."""
_TOLERANCE = 20
"""Frames: a stream's own delay, between being sent and being decoded."""


class StageRow(Struct, frozen=True, kw_only=True):
    """A group of processes."""

    group: str
    processes: int
    busy: float
    """Share of the time of one process, on average."""
    cpu: float
    """Cores."""
    mean_batch: float
    largest_batch: int
    queued: float
    """Messages that waited, on average, in all processes of the group together."""
    age_p50: float
    age_p95: float
    """Seconds from a frame's arrival to the group's beginning with it; nan where there is none."""
    dropped: dict[str, int]
    memory: int
    """Bytes, of all its processes, at the end."""


class Sample(Struct, frozen=True, kw_only=True):
    """One moment."""

    at: float
    """Seconds from the beginning."""
    memory: dict[str, int]
    """Bytes of each process."""
    files: dict[str, int]
    """Open files of each process."""


class Live(Struct, frozen=True, kw_only=True):
    """What a run with cameras gave."""

    cameras: int
    busy_cameras: int
    seconds: float
    verdict: Verdict | None
    """None of cameras that hang up: their film begins anew each time, so nobody is due at a known time; times are nan then."""
    latency_p50: float
    latency_p95: float
    """Seconds from the arrival of the frame that decided to the sighting."""
    latency_max: float
    to_name_p50: float
    to_name_p95: float
    """Seconds from the first frame in which a person could be recognised to the name."""
    embeddings_per_visit: float
    frames: int
    """From all cameras."""
    analysed: int
    cpu: float
    """Cores that the pipeline used, its main process included and the films' server not."""
    cpu_share: float
    """Of all that this process may use."""
    lost_connections: int
    restarts: int
    growth: dict[str, float]
    """MB by which each process grew between the end of the first quarter and the end."""
    stages: tuple[StageRow, ...]
    samples: tuple[Sample, ...]


class _Watcher(threading.Thread):
    """Looks at the processes every second."""

    def __init__(self, job: Pipeline, every: float) -> None:
        """Looks at the processes each `every` seconds."""
        super().__init__(name="watcher", daemon=True)
        self._job, self._every, self._begun, self._over = job, every, time.monotonic(), threading.Event()
        self.samples: list[Sample] = []
        self.queued: dict[str, list[int]] = {}
        self.warm: tuple[WorkerMetrics, ...] = ()
        self.warm_cpu = 0.0
        self.warm_at = 0.0

    def run(self) -> None:
        while not self._over.wait(self._every):
            health = self._job.health()
            workers, spares = health.processes, health.spares
            pids = {"main": os.getpid()} | {f"spare[{number}]": spare.pid for number, spare in enumerate(spares)}
            for worker in workers:
                if worker.pid is not None:
                    pids[f"{worker.group}[{worker.worker}]"] = worker.pid
                    self.queued.setdefault(worker.group, []).append(worker.counters.waiting + worker.counters.queued)
            memory, files = ({name: look(pid) for name, pid in pids.items()} for look in (resident, _files))
            self.samples.append(Sample(at=time.monotonic() - self._begun, memory=memory, files=files))

    def mark(self) -> None:
        """From now on it counts."""
        self.warm, self.warm_cpu, self.warm_at = self._job.metrics(), time.process_time(), time.monotonic()
        self.queued.clear()

    def end(self) -> None:
        """No more looks."""
        self._over.set()
        self.join()


def live(
    film: Film, busy: Path, quiet: Path, config: Config, *, cameras: int, busy_cameras: int, seconds: float,
    reconnect: float | None = None,
) -> Live:  # fmt: skip
    """Watch `cameras` cameras, of which the first `busy_cameras` show the film, for `seconds` after all were there."""
    films = [busy] * busy_cameras + [quiet] * (cameras - busy_cameras)
    with Cameras(films, reconnect) as server:
        items = [
            Item(item=number, attempt=0, kind="camera", source=f"camera {number}", address=server.address(number))
            for number in range(cameras)
        ]
        judged = range(busy_cameras if reconnect is None else 0)
        said: list[tuple[float, Sighting]] = []
        lost = 0
        with Pipeline(config, config.pipeline.watch, live_sources=cameras, has_files=False) as job:
            watcher = _Watcher(job, max(1.0, seconds / _SAMPLES))
            watcher.start()
            missing, timers = set(range(cameras)), []
            for result in job.run(items):
                now = time.time()
                # Of hours, nothing is kept that nobody needs.
                if isinstance(result, Sighting) and result.item in judged:
                    said.append((now, result))
                elif isinstance(result, SourceState):
                    lost += result.state == "lost"
                    if result.state == "connected" and missing:
                        missing.discard(result.item)
                        if not missing:
                            timers = [
                                threading.Timer(_WARM, watcher.mark),
                                threading.Timer(_WARM + seconds, _finish, (watcher, job)),
                            ]
                            for timer in timers:
                                timer.daemon = True  # who is stopped before the end does not wait for them
                                timer.start()
            workers, cpu = job.metrics(), time.process_time()
        for timer in timers:
            timer.join()
        return _figures(film, server, config, said, lost, watcher, workers, cpu, cameras, busy_cameras, judged, seconds)


def _finish(watcher: _Watcher, job: Pipeline) -> None:
    watcher.end()
    job.stop()


def _figures(
    film: Film, server: Cameras, config: Config, said: Sequence[tuple[float, Sighting]],
    lost: int, watcher: _Watcher, workers: Sequence[WorkerMetrics], cpu: float,
    cameras: int, busy_cameras: int, judged: Sequence[int], seconds: float,
) -> Live:  # fmt: skip
    took = time.monotonic() - watcher.warm_at
    begun = time.time() - took
    verdicts, latencies, to_name, visits = [], [], [], 0
    for camera in judged:
        mine = [(at, one) for at, one in said if one.item == camera]
        notes = [
            Said(frame=round(server.position(camera, one.time) * RATE), box=one.box, name=one.name, track=one.track)
            for _, one in mine
        ]
        first = max(0, round(server.position(camera, begun) * RATE))
        frames = range(first, first + round(seconds * RATE))
        verdicts.append(judge(film, notes, frames=frames, tolerance=_TOLERANCE))
        visits += len(demanded(film, frames))
        named: set[tuple[int, int]] = set()
        for (at, one), note in zip(mine, notes, strict=True):
            visit = visit_of(film, note.frame, note.box, _TOLERANCE)
            if one.name is None or visit is None or visit in named or note.frame not in frames:
                continue
            named.add(visit)
            latencies.append(at - one.time)
            to_name.append(server.position(camera, at) - first_clear(film, visit) / RATE)
    used = _cpu(workers) - _cpu(watcher.warm) + cpu - watcher.warm_cpu
    return Live(
        cameras=cameras,
        busy_cameras=busy_cameras,
        seconds=seconds,
        verdict=_sum(verdicts) if verdicts else None,
        latency_p50=_quantile(latencies, 50),
        latency_p95=_quantile(latencies, 95),
        latency_max=_quantile(latencies, 100),
        to_name_p50=_quantile(to_name, 50),
        to_name_p95=_quantile(to_name, 95),
        embeddings_per_visit=(counted(workers, "embed", "faces") - counted(watcher.warm, "embed", "faces")) / visits
        if visits
        else float("nan"),
        frames=round(cameras * seconds * RATE),
        analysed=_analysed(workers) - _analysed(watcher.warm),
        cpu=used / took,
        cpu_share=used / took / len(os.sched_getaffinity(0)),
        lost_connections=lost,
        restarts=sum(worker.restarts for worker in workers),
        growth=_growth(watcher.samples),
        stages=tuple(_stage(group.name, workers, watcher, took) for group in config.pipeline.watch),
        samples=tuple(watcher.samples),
    )


def _analysed(workers: Sequence[WorkerMetrics]) -> int:
    """Frames that the detector saw."""
    return counted(workers, "detect", "analysed")


def _stage(name: str, workers: Sequence[WorkerMetrics], watcher: _Watcher, took: float) -> StageRow:
    mine = [worker.counters for worker in workers if worker.group == name]
    before = [worker.counters for worker in watcher.warm if worker.group == name]
    batches = sum(each.batches for each in mine) - sum(each.batches for each in before)
    received = sum(each.received for each in mine) - sum(each.received for each in before)
    queued = watcher.queued.get(name, [])
    last = watcher.samples[-1].memory if watcher.samples else {}
    dropped: dict[str, int] = {}
    for each in mine:
        for reason, count in each.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    ages = [sum(column) for column in zip(*(each.ages for each in mine), strict=True)]
    return StageRow(
        group=name,
        processes=len(mine),
        busy=(sum(each.busy for each in mine) - sum(each.busy for each in before)) / took / max(1, len(mine)),
        cpu=(sum(each.cpu for each in mine) - sum(each.cpu for each in before)) / took,
        mean_batch=received / batches if batches else 0.0,
        largest_batch=max((each.largest_batch for each in mine), default=0),
        queued=len(mine) * sum(queued) / len(queued) if queued else 0.0,
        age_p50=age_quantile(ages, 0.5),
        age_p95=age_quantile(ages, 0.95),
        dropped=dropped,
        memory=sum(size for process, size in last.items() if process.startswith(f"{name}[")),
    )


def _growth(samples: Sequence[Sample]) -> dict[str, float]:
    """MB from the end of the first quarter to the end, of processes that were there at both times."""
    if len(samples) < 8:
        return {}
    first, last = samples[len(samples) // 4].memory, samples[-1].memory
    return {name: (last[name] - first[name]) / 1e6 for name in last if name in first}


def _sum(verdicts: Sequence[Verdict]) -> Verdict:
    rows = [msgspec.structs.asdict(verdict) for verdict in verdicts]
    return Verdict(**{name: sum(row[name] for row in rows) for name in Verdict.__struct_fields__})


def _quantile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


def _cpu(workers: Sequence[WorkerMetrics]) -> float:
    return sum(worker.counters.cpu for worker in workers)


def _files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
