"""Cameras begin when everybody who works on their frames is there."""

import pytest
from test_pipeline import WATCH, item, job

from vultus.pipeline import hub
from vultus.pipeline.health import Monitor
from vultus.pipeline.messages import Item, Sighting


def first_sighting(kinds: str) -> Sighting:
    """Of a job whose match opens late."""
    items = [item(number, kind=kind, frames=1) for number, kind in enumerate(kinds.split())]
    live = sum(one.live for one in items)
    with job(WATCH, live_sources=live, has_files=live < len(items), factory="toys:build_late") as pipeline:
        for result in pipeline.run(items, seconds=15):
            if isinstance(result, Sighting):
                return result
    raise AssertionError("no sighting came")


@pytest.fixture
def late(monkeypatch, tmp_path):
    """Sets how long match waits for somebody to begin with an item, and how long cameras wait for match."""

    def set_up(wait: float, hold: float) -> None:
        monkeypatch.setenv("TOYS_FRAME", str(tmp_path / "began"))
        monkeypatch.setenv("TOYS_WAIT", str(wait))
        monkeypatch.setattr(hub, "START_WITHIN", hold)

    return set_up


@pytest.mark.slow
def test_the_first_frame_is_taken_when_the_last_stage_is_open(late):
    late(wait=0.5, hold=30.0)
    assert first_sighting("camera").position >= 0


@pytest.mark.slow
def test_cameras_do_not_wait_for_ever(late):
    late(wait=600.0, hold=0.05)
    first_sighting("camera")  # match opened because the camera had begun


@pytest.mark.slow
def test_files_wait_for_nobody(late):
    late(wait=600.0, hold=600.0)
    first_sighting("camera video")  # match opened because the file had been begun


def test_the_state_of_a_camera_that_waits():
    monitor = Monitor()
    monitor.begin(Item(item=0, attempt=0, kind="camera", source="door", address="rtsp://192.0.2.1"))
    assert [camera.state for camera in monitor.health(()).cameras] == ["waiting"]
    assert not monitor.health(()).well
    monitor.begin_live()
    monitor.begin(Item(item=1, attempt=0, kind="camera", source="yard", address="rtsp://192.0.2.2"))
    assert [camera.state for camera in monitor.health(()).cameras] == ["connecting", "connecting"]
