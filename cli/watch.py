"""`vultus watch`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click
import msgspec

from vultus.cli.console import clock, line, print_json, say, utc
from vultus.cli.following import Following
from vultus.cli.job import stopped_by_signals, tell, tell_hosts
from vultus.cli.options import config_option, configured, detector_option, gallery_option, json_option
from vultus.cli.pruning import pruning
from vultus.cli.reasons import Reasons
from vultus.configs.address import Place
from vultus.configs.loader import data_folder, load
from vultus.configs.schema import Config, Source
from vultus.index.configured import open_gallery
from vultus.pipeline.messages import Item, ItemDone, Sighting
from vultus.pipeline.supervisor import Pipeline
from vultus.stages.landmarks import landmark_models
from vultus.stages.watchlist import WatchList
from vultus.weights import Registry


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@gallery_option
@config_option
@detector_option
@click.option("--once", is_flag=True, help="Do not wait for further files in folders; end when all are read.")
@click.option("--paced", is_flag=True, help="Play video files at their own speed, as cameras would send them.")
@click.option("--for", "seconds", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Stop after so long.")
@click.option(
    "--threshold",
    type=click.FloatRange(-1, 1),
    metavar="COSINE",
    help="Similarity from which on a face is that person.  [default: the model's]",
)
@click.option("--known-only", is_flag=True, help="Say nothing about people whom the gallery does not know.")
@click.option("--summary", is_flag=True, help='With --json, a last line {"summary": ...}: see below.')
@json_option
@click.pass_context
def watch(
    ctx: click.Context,
    sources: tuple[str, ...],
    gallery_dir: Place | None,
    config_file: Path | None,
    detector: str | None,
    once: bool,
    paced: bool,
    seconds: float | None,
    threshold: float | None,
    known_only: bool,
    summary: bool,
    as_json: bool,
) -> None:
    """Print who is seen, as it happens, and keep each sighting in the gallery.

    SOURCE is an RTSP, RTMP or HTTP URL (MJPEG, HLS), a video file, a folder of videos and photos, or `webcam:0`; without
    one, the sources of the configuration. Cameras are watched until Ctrl-C (or --for), and tried again for ever when
    they go away. Files are read once, every third frame in order (decode.video_step of the configuration), as fast as
    it goes; into a folder more may come, so it is watched until Ctrl-C as well, unless --once is given.

    \b
    A password does not belong on a command line, into the shell's history:
    put the camera into a configuration file as
      address: rtsp://viewer:${CAMERA_PASSWORD}@192.0.2.7/stream

    `vultus status` tells how the cameras are. Sources of a configuration are read again at `vultus reload` or SIGHUP.

    With --json each sighting is one line: source, time (UTC), position (seconds into a file, else null), track,
    identity and name, similarity, box [x, y, w, h], reason. Of a stranger name is null, and identity the number of an
    unknown person (`vultus unknowns show`), null if the face is too blurred to be known again; reason is why nobody was
    recognised: below_threshold, ambiguous (two people alike near) or nobody_known (the gallery is empty). At the end it is
    said how many were recognised, and why others were not; --summary gives that to programs.
    """
    config, _ = configured(config_file, gallery_dir, detector)
    config = _with_options(config, sources, threshold, known_only=known_only, paced=paced)
    if not config.sources:
        raise click.UsageError("name at least one SOURCE, or a configuration that lists some")
    watched = WatchList(config.sources)
    items, refused = _begun(watched)
    folders = watched.folders and not once
    again = None if sources or config_file is None else partial(_sources_again, config_file, paced)
    if not items and not folders:
        raise click.ClickException(refused[0] if refused else "nothing to watch in these sources")
    registry = Registry(data_folder())
    registry.need(config.models.detector, config.models.embedder, *landmark_models(config))
    with open_gallery(config, registry.resolve(config.models.embedder).fingerprint, create=True) as gallery:
        people = gallery.stats().identities
        if config.match.threshold is None and (stale := gallery.calibration.stale()) is not None:
            say(f"{stale}; `vultus calibrate` sets it anew", style="yellow")
    if not people:
        say("The gallery knows nobody yet: everybody will be unknown. `vultus people enrol NAME PHOTO` adds a person.")
    tell_hosts(config.pipeline.watch)
    done = failed = 0
    live = sum(item.live for item in items)
    pipeline = Pipeline(config, config.pipeline.watch, live_sources=live, has_files=folders or live < len(items))
    following = Following(watched, pipeline, again, files=folders)
    pipeline.config_file = None if again is None or config_file is None else config_file.absolute()
    with pipeline, stopped_by_signals(pipeline) as signals, following, pruning(config):
        for result in pipeline.run(items, seconds=seconds, endless=folders):
            if isinstance(result, Sighting):
                _print(result, as_json=as_json)
            elif isinstance(result, ItemDone):
                done += 1
                if result.status == "refused":
                    failed += 1
                    refused.append(f"{result.source}: {result.reason}")
                    say(f"refused: {refused[-1]}", style="yellow")
            else:
                tell(result)
    reasons = Reasons.of(pipeline.metrics())
    for text in reasons.lines():
        say(text)
    if summary and as_json:
        print_json({"summary": reasons})
    if signals and not folders and done < len(items) - live:
        say("stopped before the end")
        ctx.exit(130)
    if refused:
        ctx.exit(1 if live or done > failed else 2)


def _with_options(
    config: Config, sources: tuple[str, ...], threshold: float | None, *, known_only: bool, paced: bool
) -> Config:
    match = config.match
    if threshold is not None:
        match = msgspec.structs.replace(match, threshold=threshold)
    if known_only:
        match = msgspec.structs.replace(match, report_unknown=False)
    listed = tuple(Source(address=address) for address in sources) or config.sources
    if paced:
        listed = tuple(msgspec.structs.replace(source, paced=True) for source in listed)
    return msgspec.structs.replace(config, match=match, sources=listed)


def _sources_again(config_file: Path, paced: bool) -> tuple[Source, ...]:
    listed = load(config_file).sources
    return tuple(msgspec.structs.replace(source, paced=True) for source in listed) if paced else listed


def _begun(watched: WatchList) -> tuple[list[Item], list[str]]:
    """Every source as work, and what cannot be watched, which is said at once."""
    items: list[Item] = []
    refused: list[str] = []
    for found in watched.begin():
        if isinstance(found, Item):
            items.append(found)
        else:
            refused.append(f"{found.source}: {found.reason}")
            say(f"refused: {refused[-1]}", style="yellow")
    return items, refused


def _print(sighting: Sighting, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "source": sighting.source,
                "time": utc(sighting.time),
                "position": sighting.position,
                "track": sighting.track,
                "identity": sighting.identity,
                "name": sighting.name,
                "similarity": None if sighting.similarity is None else round(sighting.similarity, 4),
                "box": [round(value, 1) for value in sighting.box],
                "reason": sighting.reason,
            }
        )
        return
    when = (
        time.strftime("%H:%M:%S", time.localtime(sighting.time))
        if sighting.position is None
        else clock(sighting.position)
    )
    who = sighting.name or ("unknown" if sighting.identity is None else f"unknown {sighting.identity}")
    near = "" if sighting.similarity is None else f"{sighting.similarity:5.2f}"
    line(
        f"{when:>10}  {near:>5}  {who:<24} {sighting.source} (track {sighting.track})",
        None if sighting.name else "dim",
    )
