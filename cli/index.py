"""`vultus index`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import click
from msgspec.structs import replace

from vultus.cli.console import counted, line, print_json, progress, say
from vultus.cli.job import stopped_by_signals, tell, tell_hosts
from vultus.cli.options import config_option, configured, detector_option, gallery_option, json_option
from vultus.cli.persons import valid_name
from vultus.configs.address import Place
from vultus.configs.schema import Source
from vultus.jobs.indexing import Indexing, Listener
from vultus.pipeline.messages import SourceState, WorkerState

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
    terminal = Terminal()
    job = Indexing(config, sources, terminal, label_from_folder=label_from_folder, retry_refused=retry_refused)
    job.prepare()
    tell_hosts(config.pipeline.index)
    interrupted = run_with_bar(job, terminal, visible=not as_json)
    if not interrupted:
        with progress(visible=not as_json) as bar:
            task = bar.add_task("unknown people", total=None, visible=False)
            job.gather(
                lambda waiting: bar.update(task, total=waiting, visible=True),
                lambda done: bar.update(task, completed=done),
            )
    summary = job.summary()
    if not summary.files and not interrupted:
        raise click.ClickException("no photo or video found in " + ", ".join(source.address for source in sources))
    if as_json:
        print_json(summary)
    else:
        tell_summary(job, folder)
    if interrupted:
        say("stopped; the same command goes on where this one ended")
        ctx.exit(130)
    ctx.exit(0 if not summary.refused else 1 if summary.done + summary.already else 2)


class Terminal(Listener):
    """Says it to the person who waits."""

    def __init__(self) -> None:
        self.advance: Callable[[], object] = lambda: None

    def refused(self, source: str, reason: str) -> None:
        """Name the file, and why."""
        say(f"refused: {source}: {reason}", style="yellow")

    def unlabelled(self, source: str) -> None:
        """Name the photo."""
        say(f"without a name: {source}: {_UNLABELLED}", style="yellow")

    def state(self, state: SourceState | WorkerState) -> None:
        """Say what happened."""
        tell(state)

    def advanced(self) -> None:
        """Move the bar, if there is one."""
        self.advance()


def run_with_bar(job: Indexing, terminal: Terminal, *, visible: bool = True) -> bool:
    """Do it, with a progress bar if `visible`; returns whether it was stopped before the end."""
    ended = Event()
    with progress(visible=visible) as bar:
        task = bar.add_task("files", total=None)
        terminal.advance = lambda: bar.update(
            task, completed=job.seen, description=counted(job.counts["faces"], "face")
        )
        # Counted in the background, so that the bar knows its end; without a bar nobody would see what a second walk finds.
        counter = Thread(target=lambda: bar.update(task, total=job.total(ended.is_set)), daemon=True)
        if not bar.disable:
            counter.start()
        try:
            with stopped_by_signals(job):
                return job.run()
        finally:
            ended.set()
            if not bar.disable:
                counter.join()


def tell_summary(job: Indexing, folder: Place) -> None:
    """The figures for a person, with the reasons of the refusals."""
    figures = job.summary()
    rate = f", {figures.done / figures.seconds:.1f} files a second" if figures.seconds and figures.done else ""
    line(
        f"{counted(figures.files, 'file')}: {figures.done} done, {figures.already} already in the gallery, "
        f"{figures.refused} refused"
    )
    line(f"{counted(figures.faces, 'face')} added to {folder} in {figures.seconds:.1f} s{rate}")
    if figures.unlabelled:
        line(f"{counted(figures.unlabelled, 'photo')} stored without a name: {_UNLABELLED}")
    if many := figures.unknown_people:
        people = "1 unknown person" if many == 1 else f"{many} unknown people"
        line(f"{people} in the gallery: `vultus unknowns list` shows them, `vultus unknowns name` says who they are")
    for reason, count in job.reasons.most_common():
        line(f"  refused {count:>6}  {reason}")
