"""Metrics, the state of the server, and its log."""

import json
import logging
import sys
from io import StringIO

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vultus.index.types import Stats
from vultus.pipeline.health import CameraHealth, Health
from vultus.pipeline.metrics import Counters, WorkerMetrics
from vultus.server import logs
from vultus.server.desk import Desk
from vultus.server.metrics import Metrics
from vultus.server.services import Services


def families(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name of the sample and its labels' values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.mark.slow
def test_every_endpoint_is_counted_by_its_route(client: httpx.Client, services: Services) -> None:
    for number in (1, 2):
        client.get(f"/api/v1/jobs/{number}")
    client.get("/somewhere/else")
    client.get("/livez")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = families(answer.text)
    assert found["vultus_http_requests_total"]["GET", "/api/v1/jobs/{number}", "404"] == 2
    assert found["vultus_http_requests_total"]["other", "none", "404"] == 1
    assert found["vultus_http_requests_total"]["GET", "/livez", "200"] == 1
    assert found["vultus_http_request_seconds_count"]["GET", "/api/v1/jobs/{number}"] == 2
    assert found["vultus_gallery_faces"][()] == services.gallery.stats().faces
    assert found["process_resident_memory_bytes"][()] > 1e6


def test_cameras_and_processes_have_figures(services: Services) -> None:
    camera = CameraHealth(source='door "1"', state="lost", since=1.0, fps_in=25.0, dropped=3, restarts=2)
    process = WorkerMetrics(
        group="faces",
        worker=0,
        stages=("detect",),
        state="running",
        pid=7,
        restarts=1,
        counters=Counters(busy=1.5, resident=9, counts={"below_threshold": 4}),
    )
    health = Health(pid=1, started=1.0, cameras=(camera,), processes=(process,))
    metrics = Metrics(Desk(services.config.serve.limits), services.gallery, lambda: health)
    found = families(generate_latest(metrics.registry).decode())
    assert found["vultus_camera_state"]['door "1"', "lost"] == 1
    assert found["vultus_camera_state"]['door "1"', "connected"] == 0
    assert found["vultus_camera_lost_total"]['door "1"',] == 2
    assert found["vultus_process_busy_seconds_total"]["faces", "0"] == 1.5
    assert found["vultus_stage_counts_total"]["faces", "below_threshold", "0"] == 4


def test_the_state_of_the_server_is_told(client: httpx.Client, services: Services) -> None:
    shown = client.get("/api/v1/system").json()
    assert shown["model"] == "sface_2021dec"
    assert shown["threshold"] == pytest.approx(services.threshold)
    assert shown["now"]["memory"] > 1e6
    assert client.get("/api/v1/system/history").json()["items"][0]["load"] >= 0
    assert isinstance(services.gallery.stats(), Stats)


def test_answers_carry_a_number_that_the_log_has_too(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vultus.server.access")
    number = client.get("/livez").headers["x-request-id"]
    (record,) = [record for record in caplog.records if record.name == "vultus.server.access"]
    assert (record.about["request"], record.about["status"], record.about["who"]) == (number, 200, "local")  # type: ignore[attr-defined]


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_log_is_a_line_an_event_without_passwords(monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    written, root = StringIO(), logging.getLogger("vultus")
    before = root.handlers[:], root.level, root.propagate
    monkeypatch.setattr(sys, "stderr", written)
    try:
        logs.begin(style)  # type: ignore[arg-type]
        try:
            raise OSError("rtsp://user:secret@192.0.2.1/ is away")
        except OSError as error:
            logging.getLogger("vultus.x").warning(
                "rtsp://user:secret@192.0.2.1/", exc_info=error, extra={"about": {"ms": 3}}
            )
    finally:
        root.handlers[:], root.level, root.propagate = before
    text = written.getvalue()
    assert "secret" not in text
    if style == "json":
        line = json.loads(text)
        assert (line["level"], line["message"], line["ms"]) == ("warning", "rtsp://192.0.2.1/", 3)
        assert "is away" in line["error"]
    else:
        assert "WARNING rtsp://192.0.2.1/" in text
