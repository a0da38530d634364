"""`vultus index`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread

import click
from msgspec.structs import replace
from rich.progress import Progress

from vultus.cli.console import counted, line, print_json, progress, say
from vultus.cli.job import stopped_by_signals, tell, tell_hosts
from vultus.cli.options import config_option, configured, detector_option, gallery_option, json_option
from vultus.cli.persons import valid_name
from vultus.configs.address import Place
from vultus.configs.loader import data_folder
from vultus.configs.schema import Config, Source
from vultus.index import KnownFile
from vultus.index.configured import open_gallery
from vultus.pipeline.messages import Item, ItemDone, SourceState, WorkerState
from vultus.pipeline.supervisor import Pipeline
from vultus.stages.detector import landmark_models
from vultus.stages.gallery import unknown_threshold
from vultus.stages.sources import Found, Unusable, find
from vultus.weights import Registry

_UNLABELLED = "several faces of similar size, or a folder whose name is no person's"


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--label-from-folder",
    is_flag=True,
    help="The folder that holds a photo is the name of the person on it (of the clearly largest face, if there are several).",
)
@click.option(
    "--collection",
    metavar="NAME",
    callback=valid_name,
    help="What new faces belong to, for `vultus query --collection NAME`; files that are in it already stay.",
)
@click.option("--retry-refused", is_flag=True, help="Try files again that an earlier run refused.")
@gallery_option
@config_option
@detector_option
@json_option
@click.pass_context
def index(
    ctx: click.Context,
    paths: tuple[str, ...],
    label_from_folder: bool,
    collection: str | None,
    retry_refused: bool,
    gallery_dir: Place | None,
    config_file: Path | None,
    detector: str | None,
    as_json: bool,
) -> None:
    """Put the faces of every photo and video below each PATH into the gallery.

    Stop it or kill it at any moment: the same command goes on where it was, with no face lost and none stored twice.
    Files that changed since are read again, and replace what they gave before. Files that cannot be used are named, and
    the job goes on.

    Photos: JPEG, PNG, WebP, TIFF, BMP, GIF, and HEIC with `pip install vultus[heic]`. Videos: what FFmpeg reads.

    Faces without a name are gathered into unknown people, `vultus unknowns list` (not if match.unknown_people is false).

    With --json the last line is one object: files, done, already, refused, faces, unlabelled, unknown_people, seconds.
    unlabelled: photos whose faces --label-from-folder left without a name, since it is unclear which is meant.
    unknown_people: how many the gallery has now.
    """
    config, folder = configured(config_file, gallery_dir, detector)
    if collection is not None:
        config = replace(config, store=replace(config.store, collection=collection))
    sources = tuple(Source(address=path) for path in paths) or config.sources
    if not sources:
        raise click.UsageError("name at least one PATH, or a configuration that lists sources")
    registry = Registry(data_folder())
    registry.need(config.models.detector, config.models.embedder, *landmark_models(config))
    fingerprint = registry.resolve(config.models.embedder, "embedder").fingerprint
    with open_gallery(config, fingerprint, create=True) as gallery:
        job = IndexJob(sources, gallery.known_files(), label_from_folder=label_from_folder, retry_refused=retry_refused)
    interrupted = job.run(config, visible=not as_json)
    if not interrupted:
        job.gather(config, visible=not as_json)
    summary = job.summary()
    if not summary["files"] and not interrupted:
        raise click.ClickException("no photo or video found in " + ", ".join(source.address for source in sources))
    if as_json:
        print_json(summary)
    else:
        job.tell_summary(folder)
    if interrupted:
        say("stopped; the same command goes on where this one ended")
        ctx.exit(130)
    ctx.exit(0 if not job.refused else 1 if job.counts["done"] + job.counts["already"] else 2)


class IndexJob:
    """One run over an archive: what to hand out, what came back."""

    def __init__(
        self,
        sources: tuple[Source, ...],
        known: Mapping[str, KnownFile],
        *,
        label_from_folder: bool = False,
        retry_refused: bool = False,
    ) -> None:
        self._sources = sources
        self._known = known
        self._label = label_from_folder
        self._retry = retry_refused
        self._started = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.refused: list[str] = []
        self.unknown_people = 0

    def run(self, config: Config, *, visible: bool = True) -> bool:
        """Do it, with a progress bar if `visible`; returns whether it was stopped before the end."""
        tell_hosts(config.pipeline.index)
        ended = Event()
        with progress(visible=visible) as bar:
            task = bar.add_task("files", total=None)
            counter = Thread(target=self._count, args=(bar, task, ended), daemon=True)
            if not bar.disable:  # else nobody would see the end that a second walk finds
                counter.start()
            try:
                pipeline = Pipeline(config, config.pipeline.index, live_sources=0, has_files=True)
                with pipeline, stopped_by_signals(pipeline) as signals:
                    for result in pipeline.run(self._items()):
                        if isinstance(result, ItemDone):
                            self._ended(result)
                        elif isinstance(result, SourceState | WorkerState):
                            tell(result)
                        seen = self.counts["done"] + self.counts["already"] + len(self.refused)
                        bar.update(task, completed=seen, description=counted(self.counts["faces"], "face"))
            finally:
                ended.set()
                if not bar.disable:
                    counter.join()
        return bool(signals)

    def gather(self, config: Config, *, visible: bool = True) -> None:
        """Make unknown people of the faces that are still nobody's, with a progress bar if `visible`."""
        model = Registry(data_folder()).resolve(config.models.embedder, "embedder")
        threshold = unknown_threshold(config, model)
        with open_gallery(config, model.fingerprint) as gallery:
            if threshold is not None and (waiting := gallery.unknowns.pending()):
                with progress(visible=visible) as bar:
                    task = bar.add_task("unknown people", total=waiting)
                    gallery.unknowns.gather(threshold, progress=lambda done: bar.update(task, completed=done))
            self.unknown_people = gallery.stats().unknown

    def summary(self) -> dict[str, object]:
        """The figures, under the names that scripts rely on."""
        done, already, refused = self.counts["done"], self.counts["already"], len(self.refused)
        return {
            "files": done + already + refused,
            "done": done,
            "already": already,
            "refused": refused,
            "faces": self.counts["faces"],
            "unlabelled": self.counts["unlabelled"],
            "unknown_people": self.unknown_people,
            "seconds": round(time.monotonic() - self._started, 2),
        }

    def tell_summary(self, folder: Place) -> None:
        """The figures for a person, with the reasons of the refusals."""
        figures = self.summary()
        seconds = float(str(figures["seconds"]))
        rate = f", {self.counts['done'] / seconds:.1f} files a second" if seconds and self.counts["done"] else ""
        line(
            f"{counted(figures['files'], 'file')}: {figures['done']} done, {figures['already']} already in the gallery, "
            f"{figures['refused']} refused"
        )
        line(f"{counted(figures['faces'], 'face')} added to {folder} in {seconds:.1f} s{rate}")
        if self.counts["unlabelled"]:
            line(f"{counted(self.counts['unlabelled'], 'photo')} stored without a name: {_UNLABELLED}")
        if self.unknown_people:
            people = "1 unknown person" if self.unknown_people == 1 else f"{self.unknown_people} unknown people"
            line(
                f"{people} in the gallery: `vultus unknowns list` shows them, `vultus unknowns name` says who they are"
            )
        for reason, count in self.reasons.most_common():
            line(f"  refused {count:>6}  {reason}")

    def _items(self) -> Iterator[Item]:
        """Files that are not in the gallery as they are now, found as they are asked for."""
        number = 0
        for found in find(self._sources, label_from_folder=self._label):
            if isinstance(found, Unusable):
                self._refuse(found.source, found.reason)
            elif found.kind in ("camera", "webcam"):
                self._refuse(found.source, "a camera is for `vultus watch`; an archive is files")
            else:
                known = self._known.get(found.source)
                if known is None or not _same(known, found) or (known.status == "refused" and self._retry):
                    number += 1
                    yield found.item(number)
                elif known.status == "done":
                    self.counts["already"] += 1
                else:
                    self._refuse(found.source, known.reason or "refused by an earlier run")

    def _ended(self, result: ItemDone) -> None:
        if result.status == "refused":
            self._refuse(result.source, result.reason or "no reason given")
        else:
            self.counts[result.status] += 1
            self.counts["faces"] += result.faces
            if result.unlabelled:
                self.counts["unlabelled"] += 1
                say(f"without a name: {result.source}: {_UNLABELLED}", style="yellow")

    def _refuse(self, source: str, reason: str) -> None:
        self.refused.append(source)
        self.reasons[reason] += 1
        say(f"refused: {source}: {reason}", style="yellow")

    def _count(self, bar: Progress, task: object, ended: Event) -> None:
        """Walk the same files in the background, so that the bar knows its end."""
        total = 0
        for _ in find(self._sources):
            total += 1
            if ended.is_set():
                return
        bar.update(task, total=total)  # type: ignore[arg-type]


def _same(known: KnownFile, found: Found) -> bool:
    """Whether a file is as the gallery remembers it, and no other label is asked for than then."""
    as_it_was = (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
    return as_it_was and found.label in (None, known.label)
