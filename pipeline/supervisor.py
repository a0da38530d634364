"""A job: items go in, results come out, and in between stage processes that are looked after.

`Pipeline` is what callers use. Behind it one thread (`hub.Hub`) owns all sockets and processes, so that they are looked
after however long the caller takes over a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from types import TracebackType

from msgspec.structs import replace

from vultus.configs.schema import Config, Group
from vultus.pipeline.control import Look
from vultus.pipeline.feeder import live_workers
from vultus.pipeline.fleet import Plan
from vultus.pipeline.folder import RunFolder
from vultus.pipeline.health import Health, StatusServer
from vultus.pipeline.hub import Hub, Mailbox, Over, Wanted
from vultus.pipeline.messages import Item, Marks, Preview, Result
from vultus.pipeline.metrics import WorkerMetrics

_ASK_AGAIN = 0.5
"""Seconds."""


class Pipeline:
    """Runs items through groups of stage processes.

    Use as `with Pipeline(...) as pipeline: for result in pipeline.run(items): ...`. Entering starts the processes,
    leaving ends them, within `config.pipeline.stop_within` seconds whatever they do.
    """

    def __init__(
        self,
        config: Config,
        groups: tuple[Group, ...],
        *,
        factory: str = "vultus.stages.registry:build",
        live_sources: int = 0,
        has_files: bool = True,
    ) -> None:
        """`live_sources` and `has_files` announce what `run` will be given; raises ValueError if `groups` cannot take it.

        `factory` names, as `module:function`, what makes a stage from its name and the configuration.
        """
        self._workers = _count_workers(groups, live_workers(live_sources, config.decode.cameras_per_process), has_files)
        self._config, self._groups, self._factory = config, groups, factory
        self._live_sources, self._has_files = live_sources, has_files
        self._mailbox: Mailbox = SimpleQueue()
        self._hub: Hub | None = None
        self._ran = self._stopped = False
        self._server: StatusServer | None = None
        self.reload: Callable[[], object] | None = None
        """What `vultus reload` calls, in a thread of its own; the answer is sent as JSON."""
        self.config_file: Path | None = None
        """What it reads then, told in `health`."""

    def __enter__(self) -> Pipeline:
        folder = RunFolder.create()
        plan = Plan(
            config=self._config,
            groups=self._groups,
            workers=self._workers,
            factory=self._factory,
            live=self._live_sources > 0,
            folder=folder.path,
        )
        self._hub = Hub(plan, folder, self._live_sources, self._mailbox)
        self._hub.start()
        self._server = StatusServer(folder.path, {"status": self.health, "reload": self._reloaded})
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def run(self, items: Iterable[Item], seconds: float | None = None, *, endless: bool = False) -> Iterator[Result]:
        """Results as they come, until every finite item is done or, with live ones, `seconds` are over or `stop` came.

        An `endless` run does not end when everything is done: `add` may bring more.

        `items` is asked for the next one, in the caller's thread, when a process can take it: it may be endless, and
        should not wait. Live items come first if there are others. Item numbers are unique. May be called once.
        Raises WorkerFailed if a process cannot be kept running, ValueError for an item that was not announced.
        """
        hub = self._hub
        if hub is None or self._ran:
            raise RuntimeError("a pipeline is entered with `with` before `run`, and runs once")
        self._ran = True
        source = iter(items)
        hub.post(lambda: hub.begin(seconds, endless=endless))
        if self._stopped:
            hub.stop()
        while not isinstance(note := self._mailbox.get(), Over):
            if isinstance(note, Wanted):
                self._feed(hub, next(source, None))
                continue
            yield note.result
            if note.delivery is not None:
                hub.consumed(note.delivery)
        if note.error is not None:
            raise note.error

    def add(self, item: Item) -> None:
        """One more item while the run goes on; from any thread. Files only where `has_files` announced some."""
        hub = self._entered("add")
        self._check(item)
        hub.post(lambda: hub.add(item))

    def remove(self, item: int) -> None:
        """Watch a camera no longer, by its item's number; its `ItemDone` follows. From any thread."""
        hub = self._hub
        if hub is not None:
            hub.post(lambda: hub.leave(item))

    def view(self, item: int, seconds: float, *, veiled: bool, awake: bool = False) -> None:
        """Somebody looks at this camera (its item's number) for the next `seconds`, up to 60; from any thread.

        Meanwhile `shown` has its pictures and marks. It is a lease: who looks for longer calls again in time, and one who
        dies costs nothing. One lease serves everybody who looks. What happened to it when a process died is mended by
        the next call.

        `veiled`: only people who were recognised, and may be seen, have a face in these pictures; for a gallery in which
        somebody is hidden. Always so where `config.privacy` veils anybody. Such pictures are those that were analysed.
        `awake`: decode every frame; otherwise a camera before which nothing moves shows its key frames.
        Raises ValueError for other `seconds`.
        """
        self._look(Look(item=item, seconds=_lease(seconds), awake=awake, veiled=self._veiled(veiled)))

    def shown(self) -> Iterator[Preview | Marks]:
        """What the cameras show at which somebody looks, as it comes; ends with the run. For one reader.

        Of each camera the newest picture and the newest marks wait for the reader, who never gets older ones after them.
        """
        hub = self._entered("shown")
        while (one := hub.screen.take()) is not None:
            yield one

    def snapshot(self, item: int, *, veiled: bool, timeout: float = 5.0) -> Preview:
        """One picture of this camera now, up to `preview.snapshot_side`; `veiled` as in `view`. From any thread; waits.

        Raises TimeoutError if none came within `timeout` seconds, up to 60, also when the run has ended.
        """
        hub = self._entered("snapshot")
        end, veiled = monotonic() + _lease(timeout), self._veiled(veiled)
        with hub.screen.asking(item) as picture:
            while not picture.done() and (left := end - monotonic()) > 0:
                # Asked again, since its process may only just have been started (again).
                self._look(Look(item=item, seconds=left, full=True, veiled=veiled))
                wait([picture], min(left, _ASK_AGAIN))
            return picture.result(0)

    def stop(self) -> None:
        """End the run soon: sources first, then what is on its way; safe from any thread and from signal handlers."""
        self._stopped = True
        if self._hub is not None:
            self._hub.stop()

    def metrics(self) -> tuple[WorkerMetrics, ...]:
        """Where every process stands and what it counted, also after the end; from any thread."""
        return self._hub.metrics() if self._hub is not None else ()

    def health(self) -> Health:
        """How every camera and process is; from any thread."""
        assert self._hub is not None
        return replace(self._hub.health(), config=None if self.config_file is None else str(self.config_file))

    def _reloaded(self) -> object:
        return self.reload() if self.reload is not None else {"error": "this job has nothing to reload"}

    def close(self) -> None:
        """End everything and wait for it. Results that were not taken yet are lost."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._hub is not None:
            self._hub.stop()
            self._hub.join()

    def _entered(self, what: str) -> Hub:
        if self._hub is None:
            raise RuntimeError(f"a pipeline is entered with `with` before `{what}`")
        return self._hub

    def _veiled(self, wished: bool) -> bool:
        privacy = self._config.privacy
        return wished or bool(privacy.veil) or privacy.veil_strangers

    def _look(self, look: Look) -> None:
        hub = self._entered("view")
        hub.post(lambda: hub.look(look))

    def _feed(self, hub: Hub, item: Item | None) -> None:
        if item is not None:
            self._check(item)
        hub.post(lambda: hub.feed(item))

    def _check(self, item: Item) -> None:
        if not item.live and not self._has_files:
            raise ValueError(f"{item.source!r} is no live source, and no files were announced")


def _lease(seconds: float) -> float:
    if not 0.0 < seconds <= 60.0:
        raise ValueError(f"somebody looks at a camera for up to 60 seconds at a time, not {seconds:g}")
    return seconds


def _count_workers(groups: tuple[Group, ...], live: int, has_files: bool) -> tuple[int, ...]:
    """Processes of each group; `live` of the first one are for cameras."""
    if not groups:
        raise ValueError("a pipeline needs at least one group of stages")
    sources = live + has_files
    if sources < 1:
        raise ValueError("neither live sources nor files: there is nothing to run")
    # Where other hosts do the work, one process here deals it out to all of them.
    counts = tuple(
        sources if group.workers == "per-source" else 1 if group.hosts else group.workers for group in groups
    )
    if counts[0] < sources:
        raise ValueError(
            f"group {groups[0].name!r} has {counts[0]} workers; the live sources{' and files' if has_files else ''} "
            f"need {sources}: set `workers: per-source`, or raise decode.cameras_per_process"
        )
    return counts
