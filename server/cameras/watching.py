"""The pipeline that watches the server's cameras: in threads of this process, its stages in processes of their own.

Without a camera that is switched on there are no stage processes. What goes wrong with them is shown, told, and tried again
with growing pauses; the server goes on.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

from msgspec import structs

from vultus.configs.address import redact_text
from vultus.configs.schema import Config, Retention
from vultus.index import GalleryError, Pruned
from vultus.index.gallery import Gallery
from vultus.index.pruning import Pruning
from vultus.pipeline.errors import PipelineError
from vultus.pipeline.health import CameraHealth, Health
from vultus.pipeline.messages import Item, ItemDone, Marks, Preview, Result, SourceState, WorkerState
from vultus.pipeline.supervisor import Pipeline
from vultus.server.cameras import admission
from vultus.server.cameras.changes import CameraChange, Condition, WorkerChange, condition
from vultus.server.cameras.register import Camera, Register
from vultus.server.problems import Problem
from vultus.stages.watchlist import WatchList

_FIRST_PAUSE, _LONGEST_PAUSE, _HEALTHY_AFTER = 1.0, 60.0, 60.0
"""Seconds between attempts to start the stage processes, and after which a run counts as one that worked."""
_VEIL_KNOWN = 1.0
"""Seconds for which it counts as known whether somebody is hidden."""
_log = logging.getLogger("vultus.server.cameras")


class Watching:
    """Watches what the register says, while entered. The other methods are for any thread."""

    def __init__(
        self, config: Config, register: Register, gallery: Gallery, show: Callable[[int, Preview | Marks], None]
    ) -> None:
        """`show` gets what cameras show that somebody looks at, by the camera's number, in a thread of this class."""
        self._config, self._register, self._gallery, self._show = config, register, gallery, show
        self.listeners: list[Callable[[CameraChange | WorkerChange], None]] = []
        """Called with every change, in any thread; they must not block. Add them before entering."""
        self._lock = threading.RLock()
        self._news = threading.Event()
        self._cameras: dict[int, Camera] = {}
        self._unusable: dict[int, str] = {}
        self._run: _Run | None = None
        self._over = False
        self._trouble = ""
        self._veiled, self._veil_asked = True, -1e9
        self._thread = threading.Thread(target=self._watch, name="vultus-watching")

    def __enter__(self) -> Self:
        self._cameras = {camera.id: camera for camera in self._register.all()}
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._lock:
            self._over = True
            if self._run is not None:
                self._run.pipeline.stop()
        self._news.set()
        self._thread.join()

    def refresh(self) -> None:
        """The register was changed: watch what it says now."""
        with self._lock:
            before, self._cameras = self._cameras, {camera.id: camera for camera in self._register.all()}
            changes = _changes(before, self._cameras)
            if self._run is not None:
                self._run.change(self._wanted())
                if not self._run.cameras:
                    self._run.pipeline.stop()
                    self._run = None
            self._news.set()
        for change in changes:
            self._tell(change)

    def conditions(self) -> dict[int, Condition]:
        """How every camera is."""
        with self._lock:
            cameras, unusable, run, trouble = dict(self._cameras), dict(self._unusable), self._run, self._trouble
        found = {} if run is None else {camera.source: camera for camera in run.health()}
        return {
            number: condition(camera, found.get(camera.name), unusable.get(number), trouble)
            for number, camera in cameras.items()
        }

    def health(self) -> Health | None:
        """How every camera and stage process is; none while none runs."""
        with self._lock:
            run = self._run
        return None if run is None else run.pipeline.health()

    def look(self, camera: int, seconds: float, *, awake: bool) -> None:
        """Somebody looks at this camera for the next `seconds`; see `Pipeline.view`."""
        veiled = self._somebody_is_hidden()
        with self._lock:
            run = self._run
            item = None if run is None else run.item_of(camera)
        if run is not None and item is not None:
            run.pipeline.view(item, seconds, veiled=veiled, awake=awake)

    def snapshot(self, camera: int, timeout: float) -> Preview:
        """One picture now. Raises Problem: 404, 409 for a camera that is off, 503 if there is no picture within `timeout`."""
        named = self._register.get(camera)
        veiled = self._somebody_is_hidden()
        with self._lock:
            run = self._run
            item = None if run is None else run.item_of(camera)
            why = self._unusable.get(camera) or self._trouble
        if not named.enabled:
            raise Problem(409, "camera-off", f"{named.name} is switched off.")
        if run is not None and item is not None:
            try:
                return run.pipeline.snapshot(item, veiled=veiled, timeout=timeout)
            except TimeoutError:
                why = next((one.last_error for one in run.health() if one.source == named.name), "")
        because = f": {why}" if why else ""
        raise Problem(503, "no-picture", f"{named.name} gives no picture{because}", headers={"Retry-After": "5"})

    def _somebody_is_hidden(self) -> bool:
        if time.monotonic() - self._veil_asked > _VEIL_KNOWN:
            hidden = self._gallery.identities(hidden=True) or self._gallery.unknowns.people(hidden=True, limit=1)
            self._veiled, self._veil_asked = bool(hidden), time.monotonic()
        return self._veiled

    def _watch(self) -> None:
        pause = _FIRST_PAUSE
        while not self._over:
            self._news.clear()
            begun = time.monotonic()
            try:
                if self._watched_all():
                    continue
                self._trouble = ""
                self._news.wait()
            except Exception as error:  # noqa: BLE001 -- whatever it was, the server and the other cameras go on
                if time.monotonic() - begun > _HEALTHY_AFTER:
                    pause = _FIRST_PAUSE
                self._failed(error, pause)
                self._news.clear()
                self._news.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _failed(self, error: Exception, pause: float) -> None:
        reason = redact_text(" ".join(str(error).split())) or type(error).__name__
        told = reason
        if not isinstance(error, PipelineError | OSError):  # a mistake of ours
            told = redact_text("".join(traceback.format_exception(error)))
        _log.error("the stage processes failed: %s", told)
        with self._lock:
            self._run = None
            self._trouble = f"the stage processes cannot run: {reason}"
        self._tell(WorkerChange(at=time.time(), state="failed", reason=f"{reason}; next try in {pause:.0f} s"))

    def _watched_all(self) -> bool:
        """Run a pipeline until the last camera goes or the server ends; false if there is no camera to watch."""
        with self._lock:
            wanted = self._wanted()
            if not wanted or self._over:
                return False
            run = _Run(self._config, wanted)
        with run.pipeline:
            with self._lock:
                if self._over:
                    return True
                self._run, self._trouble = run, ""
                run.change(self._wanted())  # what came meanwhile
            self._tell(WorkerChange(at=time.time(), state="running"))
            shower = threading.Thread(target=self._show_all, args=(run,), name="vultus-showing")
            shower.start()
            try:
                for result in run.pipeline.run(run.feed(), endless=True):
                    self._take(run, result)
            finally:
                with self._lock:
                    if self._run is run:
                        self._run = None
                run.pipeline.close()
                shower.join()
        self._tell(WorkerChange(at=time.time(), state="stopped"))
        return True

    def _show_all(self, run: _Run) -> None:
        for shown in run.pipeline.shown():
            camera = run.cameras.get(shown.item)
            if camera is not None:
                self._show(camera, shown)

    def _take(self, run: _Run, result: Result) -> None:
        if isinstance(result, WorkerState):
            worker = f"{result.group}[{result.worker}]" + (f" of {result.host}" if result.host else "")
            _log.warning("process %s %s %s", worker, result.state, result.reason)
            self._tell(WorkerChange(at=time.time(), state=result.state, worker=worker, reason=result.reason))
        elif isinstance(result, SourceState):
            camera = run.cameras.get(result.item)
            if camera is None:
                run.pipeline.remove(result.item)  # it left in the moment in which it was handed on
                return
            _log.info("%s: %s %s", result.source, result.state, result.reason)
            self._tell(
                CameraChange(
                    at=time.time(),
                    camera=camera,
                    name=result.source,
                    state=result.state,
                    reason=result.reason,
                    retry_in=result.retry_in,
                    size=result.size,
                )
            )
        elif isinstance(result, ItemDone) and result.status == "refused":
            _log.warning("%s: %s", result.source, result.reason)

    def _wanted(self) -> dict[int, admission.Wanted]:
        """What to watch, by the camera's number; `_lock` is held. Of the others it is remembered why not."""
        named = {camera.name for camera in self._cameras.values() if camera.configured}
        rules = self._config.serve.cameras
        wanted, unusable = {}, {}
        for number, camera in self._cameras.items():
            if not camera.enabled:
                continue
            why = admission.why_not(camera, rules)
            if why is None and not camera.configured and camera.name in named:
                why = "the configuration has a camera of the same name"
            if why is None:
                wanted[number] = admission.wanted(camera, rules)
            else:
                unusable[number] = why
        news = {number: why for number, why in unusable.items() if self._unusable.get(number) != why}
        self._unusable = unusable
        for number, why in news.items():
            name = self._cameras[number].name
            self._tell(CameraChange(at=time.time(), camera=number, name=name, state="unusable", reason=why))
        return wanted

    def _tell(self, change: CameraChange | WorkerChange) -> None:
        for listener in self.listeners:
            try:
                listener(change)
            except Exception:  # noqa: BLE001 -- a full disk under the log of events is no reason to stop watching
                _log.exception("%s was not taken by who listens", change)


def pruning(gallery: Gallery, rules: Retention) -> Pruning:
    """While inside, what is old is deleted from the gallery."""

    def told(found: Pruned | GalleryError) -> None:
        if isinstance(found, GalleryError):
            _log.warning("what is old is deleted later: %s", found)
        else:
            _log.info("deleted because it was old: %s", found)

    return Pruning(lambda: gallery.prune(rules), told)


class _Run:
    """One pipeline and the cameras that it watches. `change` is called with the lock of `Watching` held."""

    def __init__(self, config: Config, wanted: Mapping[int, admission.Wanted]) -> None:
        self._watched = WatchList(())
        self.cameras: dict[int, int] = {}
        """Numbers of cameras by those of their items."""
        self.items = self._join(wanted)[0]
        self.pipeline = Pipeline(config, config.pipeline.watch, live_sources=len(self.items), has_files=False)

    def feed(self) -> Iterator[Item]:
        """What to begin with, without that which left meanwhile."""
        return (item for item in self.items if item.item in self.cameras)

    def change(self, wanted: Mapping[int, admission.Wanted]) -> None:
        """Watch these from now on."""
        joined, left = self._join(wanted)
        for number in left:
            self.pipeline.remove(number)
        for item in joined:
            self.pipeline.add(item)

    def item_of(self, camera: int) -> int | None:
        """The item of a camera."""
        return next((item for item, number in self.cameras.items() if number == camera), None)

    def health(self) -> tuple[CameraHealth, ...]:
        """How the cameras are."""
        return self.pipeline.health().cameras

    def _join(self, wanted: Mapping[int, admission.Wanted]) -> tuple[list[Item], list[int]]:
        change = self._watched.change(tuple(one.source for one in wanted.values()))
        numbers = {one.source.label: number for number, one in wanted.items()}
        for gone in change.left:
            self.cameras.pop(gone, None)
        joined = []
        for item in change.joined:
            number = numbers[item.source]
            self.cameras[item.item] = number
            joined.append(structs.replace(item, networks=wanted[number].networks))
        return joined, list(change.left)


def _changes(before: Mapping[int, Camera], after: Mapping[int, Camera]) -> list[CameraChange]:
    now = time.time()
    changes = []
    for number, camera in before.items():
        if number not in after:
            changes.append(CameraChange(at=now, camera=number, name=camera.name, state="removed"))
        elif camera.enabled and not after[number].enabled:
            changes.append(CameraChange(at=now, camera=number, name=after[number].name, state="off"))
    return changes
