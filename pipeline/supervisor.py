"""A job: items go in, results come out, and in between stage processes that are looked after.

`Pipeline` is what callers use. Behind it one thread (`hub.Hub`) owns all sockets and processes, so that they are looked
after however long the caller takes over a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from msgspec.structs import replace

from vultus.configs.schema import Config, Group
from vultus.pipeline.feeder import live_workers
from vultus.pipeline.fleet import Plan
from vultus.pipeline.folder import RunFolder
from vultus.pipeline.health import Health, StatusServer
from vultus.pipeline.hub import Hub, Mailbox, Over, Wanted
from vultus.pipeline.messages import Item, Result
from vultus.pipeline.metrics import WorkerMetrics


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
        hub = self._hub
        if hub is None:
            raise RuntimeError("a pipeline is entered with `with` before `add`")
        self._check(item)
        hub.post(lambda: hub.add(item))

    def remove(self, item: int) -> None:
        """Watch a camera no longer, by its item's number; its `ItemDone` follows. From any thread."""
        hub = self._hub
        if hub is not None:
            hub.post(lambda: hub.leave(item))

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

    def _feed(self, hub: Hub, item: Item | None) -> None:
        if item is not None:
            self._check(item)
        hub.post(lambda: hub.feed(item))

    def _check(self, item: Item) -> None:
        if not item.live and not self._has_files:
            raise ValueError(f"{item.source!r} is no live source, and no files were announced")


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
