"""Stage processes that cannot run do not take the server down, and are tried again."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vultus.configs.loader import load
from vultus.configs.schema import Source
from vultus.index import Gallery
from vultus.pipeline.errors import WorkerFailed
from vultus.pipeline.health import CameraHealth, Health
from vultus.pipeline.messages import Item, SourceState
from vultus.server.cameras import watching
from vultus.server.cameras.changes import CameraChange, WorkerChange
from vultus.server.cameras.register import Draft, Register
from vultus.server.cameras.watching import Watching
from vultus.server.problems import Problem
from vultus.server.store import Store
from vultus.server.vault import Vault


class Stage:
    """A pipeline that starts no processes: its runs go as `plays` say, the last one for ever."""

    plays: list[str]
    all: list["Stage"]

    def __init__(self, _config: object, _groups: object, *, live_sources: int, has_files: bool) -> None:
        assert live_sources
        assert not has_files
        self.items: dict[int, Item] = {}
        self.log: list[str] = []
        self._over = threading.Event()
        self._play = self.plays.pop(0) if self.plays else "runs"
        self.all.append(self)

    def __enter__(self) -> "Stage":
        if self._play == "cannot enter":
            raise OSError("no space left for rtsp://u:hunter2@192.0.2.1/x")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, items: Iterator[Item], *, endless: bool) -> Iterator[SourceState]:
        assert endless
        for item in items:
            self.add(item)
            yield SourceState(item=item.item, source=item.source, state="connected")
        if self._play == "fails":
            raise WorkerFailed("people[0] cannot start: model is missing")
        self._over.wait(20)

    def add(self, item: Item) -> None:
        self.items[item.item] = item

    def remove(self, number: int) -> None:
        self.items.pop(number, None)

    def shown(self) -> Iterator[Any]:
        self._over.wait(20)
        return iter(())

    def stop(self) -> None:
        self._over.set()

    close = stop

    def health(self) -> Health:
        cameras = tuple(
            CameraHealth(source=item.source, state="connected", since=1.0) for item in list(self.items.values())
        )
        return Health(pid=1, started=0.0, cameras=cameras, processes=())


class Bench:
    """A register and a watching over it, with what it told."""

    def __init__(self, folder: Path, gallery: Gallery) -> None:
        config = load(None, {"serve.folder": str(folder)})
        self.store = Store(folder)
        self.register = Register(self.store, Vault.open(config, self.store), config.sources)
        self.register.open()
        self.watching = Watching(config, self.register, gallery, lambda *_: None)
        self.changes: list[CameraChange | WorkerChange] = []
        self._news = threading.Condition()
        self.watching.listeners.append(self._hear)

    def _hear(self, change: CameraChange | WorkerChange) -> None:
        with self._news:
            self.changes.append(change)
            self._news.notify_all()

    def until(self, what: Callable[[], object]) -> None:
        with self._news:
            assert self._news.wait_for(what, 10), self.changes

    def states(self, kind: type) -> list[str]:
        return [change.state for change in self.changes if isinstance(change, kind)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    Stage.plays, Stage.all = [], []
    monkeypatch.setattr(watching, "Pipeline", Stage)
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.05)
    with Gallery.open(tmp_path / "gallery") as gallery:
        bench = Bench(tmp_path / "server", gallery)
        yield bench
        bench.store.close()


def camera(name: str) -> Draft:
    return Draft(name=name, address=f"rtsp://u:hunter2@192.0.2.7/{name}")


def test_what_cannot_run_is_shown_and_tried_again(bench: Bench) -> None:
    Stage.plays = ["cannot enter", "fails", "runs"]
    one = bench.register.add(camera("one"))
    with bench.watching:
        bench.until(lambda: bench.states(WorkerChange) == ["failed", "running", "failed", "running"])
        bench.until(lambda: bench.states(CameraChange) == ["connected", "connected"])
        assert bench.watching.conditions()[one.id].state == "connected"
        failures = [change.reason for change in bench.changes if change.state == "failed"]
        assert "no space left" in failures[0]
        assert "model is missing; next try in" in failures[1]
        assert "hunter2" not in str(bench.changes)
    assert bench.states(WorkerChange)[-1] == "stopped"


def test_while_nothing_runs_cameras_say_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 30.0)
    Stage.plays = ["fails"]
    one = bench.register.add(camera("one"))
    with bench.watching:
        bench.until(lambda: "failed" in bench.states(WorkerChange))
        how = bench.watching.conditions()[one.id]
        assert how.state == "waiting"
        assert "model is missing" in how.last_error
        with pytest.raises(Problem, match="model is missing"):
            bench.watching.snapshot(one.id, 1.0)
        bench.watching.refresh()  # somebody did something about it: no need to wait
        bench.until(lambda: bench.states(CameraChange)[-1:] == ["connected"] and len(Stage.all) == 2)


def test_processes_run_only_while_a_camera_is_on(bench: Bench) -> None:
    with bench.watching:
        assert bench.watching.health() is None
        assert not Stage.all
        one = bench.register.add(camera("one"))
        bench.watching.refresh()
        bench.until(lambda: bench.states(CameraChange) == ["connected"])
        (stage,) = Stage.all
        (item,) = stage.items.values()
        assert item.networks is not None, "nobody trusts what was added over the API"
        two = bench.register.add(camera("two"))
        bench.watching.refresh()
        assert [each.source for each in stage.items.values()] == ["one", "two"]
        bench.register.change(two.id, Draft(masks=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),)))
        bench.watching.refresh()
        assert [(each.source, len(each.view.masks)) for each in stage.items.values()] == [("one", 0), ("two", 1)]
        bench.register.change(one.id, Draft(enabled=False))
        bench.register.remove(two.id)
        bench.watching.refresh()
        bench.until(lambda: bench.states(WorkerChange) == ["running", "stopped"])
        assert bench.states(CameraChange)[-2:] == ["off", "removed"]
        assert bench.watching.conditions()[one.id].state == "off"
        bench.register.change(one.id, Draft(enabled=True))
        bench.watching.refresh()
        bench.until(lambda: bench.states(WorkerChange) == ["running", "stopped", "running"])
        assert len(Stage.all) == 2


def test_who_listens_and_fails_stops_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(change: object) -> None:
        raise OSError("no space left on device")

    bench.watching.listeners.insert(0, fail)
    bench.register.add(camera("one"))
    with bench.watching:
        bench.until(lambda: bench.states(CameraChange) == ["connected"])
        assert bench.states(WorkerChange) == ["running"]
    assert "no space left" in caplog.text


def test_what_was_configured_anew_is_watched(bench: Bench) -> None:
    with bench.watching:
        hall = Source(name="hall", address="rtsp://127.0.0.1/hall")
        bench.register.configure((hall,))
        bench.watching.refresh()
        bench.until(lambda: bench.states(CameraChange) == ["connected"])
        (item,) = Stage.all[0].items.values()
        assert (item.source, item.networks) == ("hall", None)
        bench.register.configure(())
        bench.watching.refresh()
        bench.until(lambda: bench.states(CameraChange) == ["connected", "removed"])


def test_cameras_that_cannot_be_watched_say_why(bench: Bench) -> None:
    bench.register.configure((Source(name="folder", address=str(bench.store.folder)),))
    with bench.watching:
        bench.until(lambda: bench.states(CameraChange) == ["unusable"])
        (how,) = bench.watching.conditions().values()
        assert (how.state, "no camera" in how.last_error) == ("unusable", True)
        assert not Stage.all
