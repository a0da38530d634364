"""Figures for Prometheus: of every endpoint, the desk, the gallery and its index, each camera and each stage process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vultus.index.gallery import Gallery
from vultus.pipeline.health import CameraHealth, CameraState, Health
from vultus.pipeline.metrics import WorkerMetrics
from vultus.server.desk import Desk

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What is counted while requests are answered, and what is asked for when somebody looks. From any thread."""

    def __init__(self, desk: Desk, gallery: Gallery, health: Callable[[], Health | None]) -> None:
        """`health` gives the state of cameras and stage processes; none while there are none."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "vultus_http_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "vultus_http_request_seconds",
            "Time from a request's beginning to the end of its answer",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.open = Gauge("vultus_http_requests_open", "Requests and streams that go on now", registry=self.registry)
        self.registry.register(_Now(desk, gallery, health))


class _Now(Collector):
    """How it is at the moment of asking."""

    def __init__(self, desk: Desk, gallery: Gallery, health: Callable[[], Health | None]) -> None:
        self._desk, self._gallery, self._health = desk, gallery, health

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on cameras and processes."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Everything."""
        desk, stats = self._desk, self._gallery.stats()
        yield _gauge("vultus_desk_working", "Searches and detections that are worked on", desk.working)
        yield _gauge("vultus_desk_waiting", "Searches and detections that wait", desk.waiting)
        yield _counter("vultus_desk_turned_away", "Requests answered with 503", desk.turned_away)
        yield _gauge("vultus_gallery_faces", "Faces in the gallery", stats.faces)
        yield _gauge("vultus_gallery_people", "People with a name", stats.identities)
        yield _gauge("vultus_gallery_unknown_people", "People without a name", stats.unknown)
        yield _gauge("vultus_gallery_sightings", "Sightings that are kept", stats.sightings)
        yield _gauge("vultus_gallery_size_bytes", "All files of the gallery", stats.size_bytes)
        yield _gauge("vultus_index_bytes", "Memory of the vector index", stats.bytes_per_vector * stats.faces)
        health = self._health()
        if health is not None:
            yield from _of_cameras(health.cameras)
            yield from _of_processes(health.processes)


def _of_cameras(cameras: tuple[CameraHealth, ...]) -> Iterator[Metric]:
    state = GaugeMetricFamily("vultus_camera_state", "1 for the state that a camera is in", labels=("camera", "state"))
    for camera in cameras:
        for one in get_args(CameraState):
            state.add_metric((camera.source, one), float(camera.state == one))
    yield state
    gauges: tuple[tuple[str, str, Callable[[CameraHealth], float | None]], ...] = (
        ("vultus_camera_frames_per_second", "Frames that arrive", lambda camera: camera.fps_in),
        ("vultus_camera_analysed_per_second", "Frames that are analysed", lambda camera: camera.fps_analysed),
        ("vultus_camera_latency_seconds", "From a frame's arrival to its faces", lambda camera: camera.latency),
        ("vultus_camera_last_face_time_seconds", "When it last showed a face", lambda camera: camera.last_face),
    )
    for name, text, value in gauges:
        gauge = GaugeMetricFamily(name, text, labels=("camera",))
        for camera in cameras:
            if (number := value(camera)) is not None:
                gauge.add_metric((camera.source,), number)
        yield gauge
    dropped = CounterMetricFamily("vultus_camera_dropped", "Frames thrown away for newer ones", labels=("camera",))
    lost = CounterMetricFamily("vultus_camera_lost", "Connections that were lost", labels=("camera",))
    for camera in cameras:
        dropped.add_metric((camera.source,), camera.dropped)
        lost.add_metric((camera.source,), camera.restarts)
    yield dropped
    yield lost


def _of_processes(processes: tuple[WorkerMetrics, ...]) -> Iterator[Metric]:
    labels = ("group", "worker")
    gauges: tuple[tuple[str, str, Callable[[WorkerMetrics], float]], ...] = (
        ("vultus_process_running", "1 while it runs", lambda process: float(process.state == "running")),
        ("vultus_process_memory_bytes", "Resident memory", lambda process: process.counters.resident),
        ("vultus_process_queue", "Messages that wait in it", lambda process: process.counters.waiting),
    )
    counters: tuple[tuple[str, str, Callable[[WorkerMetrics], float]], ...] = (
        ("vultus_process_busy_seconds", "At work, not waiting", lambda process: process.counters.busy),
        ("vultus_process_blocked_seconds", "Waited for the next group", lambda process: process.counters.blocked),
        ("vultus_process_cpu_seconds", "Processor time", lambda process: process.counters.cpu),
        ("vultus_process_messages", "Messages received", lambda process: process.counters.received),
        ("vultus_process_batches", "Batches worked on", lambda process: process.counters.batches),
        ("vultus_process_restarts", "Times it was started again", lambda process: process.restarts),
    )
    for name, text, value in gauges:
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for process in processes:
            if process.state != "ended":
                gauge.add_metric((process.group, str(process.worker)), value(process))
        yield gauge
    for name, text, value in counters:
        counter = CounterMetricFamily(name, text, labels=labels)
        for process in processes:
            counter.add_metric((process.group, str(process.worker)), value(process))
        yield counter
    counts = CounterMetricFamily(
        "vultus_stage_counts", "What the stages count themselves", labels=("group", "worker", "what")
    )
    for process in processes:
        for what, number in (process.counters.counts | process.counters.dropped).items():
            counts.add_metric((process.group, str(process.worker), what), number)
    yield counts


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)
