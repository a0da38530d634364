"""Cameras that are looked at while a job runs, with real processes and toy stages."""

import os
import signal
import threading
import time

import pytest

from vultus.configs.schema import Config, Group, Privacy
from vultus.configs.schema import Pipeline as Settings
from vultus.pipeline.messages import Item, Marks, Preview
from vultus.pipeline.supervisor import Pipeline

WATCH = (
    Group(name="decode", stages=("decode",), workers="per-source", queue=2),
    Group(name="faces", stages=("detect", "track", "align"), max_batch=4),
    Group(name="people", stages=("embed", "match"), max_batch=8),
)


class Looking:
    """A job with two cameras, and what it shows."""

    def __init__(self, pipeline):
        self.pipeline, self.seen, self.news = pipeline, [], threading.Condition()
        items = [Item(item=n, attempt=0, kind="camera", source=f"c{n}", address="every=0.02") for n in (1, 2)]
        self._threads = [
            threading.Thread(target=lambda: [self._keep(shown) for shown in pipeline.shown()]),
            threading.Thread(target=lambda: list(pipeline.run(items))),
        ]

    def _keep(self, shown):
        with self.news:
            self.seen.append(shown)
            self.news.notify_all()

    def until(self, fits, renew=None, seconds=20.0):
        """The first thing shown from now on that fits; `renew` is called until then."""
        end = time.monotonic() + seconds
        begin = len(self.seen)
        while True:
            if renew is not None:
                renew()
            with self.news:
                self.news.wait(0.2)
                found = [shown for shown in self.seen[begin:] if fits(shown)]
            if found:
                return found[0]
            assert time.monotonic() < end, self.seen[-5:]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.pipeline.stop()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


def picture(item, jpeg=b"decoded"):
    return lambda shown: isinstance(shown, Preview) and (shown.item, shown.jpeg) == (item, jpeg)


def named(shown):
    return isinstance(shown, Marks) and shown.item == 1 and any(mark.name == "Anna" for mark in shown.marks)


@pytest.fixture
def look():
    config = Config(pipeline=Settings(restart_first=0.05))
    pipeline = Pipeline(config, WATCH, factory="toys:build_shown", live_sources=2, has_files=False)
    with pipeline, Looking(pipeline) as look:
        yield look


@pytest.mark.slow
def test_a_camera_is_shown_while_somebody_looks_and_no_other(look):
    pipeline = look.pipeline

    def view(**given):
        return lambda: pipeline.view(1, 1.0, **{"veiled": False, **given})

    first = look.until(picture(1), view())
    assert time.time() - first.time < 1.0
    marks = look.until(named, view())
    assert (marks.width, marks.height, marks.marks[0].box) == (8, 8, (1, 2, 3, 4))
    look.until(picture(1, b"awake"), view(awake=True))
    assert pipeline.snapshot(2, veiled=False).full
    assert {shown.item for shown in look.seen} == {1}, "nobody looked at the other one"
    assert not any(isinstance(shown, Preview) and shown.full for shown in look.seen)

    look.until(picture(1, b"[0]"), view(veiled=True))  # whose face may be seen went from match to track
    before = time.time()
    look.until(picture(1, b"[0]"), view(veiled=True))
    assert all(shown.veiled for shown in look.seen if isinstance(shown, Preview) and shown.time > before)

    decoder = next(worker.pid for worker in pipeline.metrics() if worker.group == "decode" and worker.worker == 0)
    assert decoder is not None
    os.kill(decoder, signal.SIGKILL)
    look.until(picture(1), view())
    pipeline.remove(2)
    with pytest.raises(TimeoutError):
        pipeline.snapshot(2, veiled=False, timeout=0.2)


@pytest.mark.parametrize("privacy", [Privacy(), Privacy(veil=("Anna",)), Privacy(veil_strangers=True)])
def test_what_privacy_veils_is_veiled_whoever_asks(privacy, monkeypatch):
    pipeline = Pipeline(Config(privacy=privacy), WATCH, live_sources=1, has_files=False)
    looks = []
    monkeypatch.setattr(pipeline, "_look", looks.append)
    pipeline.view(1, 5, veiled=False)
    pipeline.view(1, 5, veiled=True)
    assert [look.veiled for look in looks] == [privacy != Privacy(), True]
    for seconds in (0, -1, 60.5, float("nan")):
        with pytest.raises(ValueError, match="60 seconds"):
            pipeline.view(1, seconds, veiled=True)
