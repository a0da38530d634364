"""`vultus status` and `vultus reload`: ask the jobs that run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from vultus.cli.console import line, print_json, say, table
from vultus.cli.following import tell_change
from vultus.cli.options import json_option
from vultus.pipeline.gate import REFUSALS
from vultus.pipeline.health import CameraHealth, Health, ask, jobs
from vultus.pipeline.metrics import WorkerMetrics

NOT_WELL, NOTHING_RUNS = 1, 3


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """How the running jobs of this user are: every camera and every process.

    Of a camera: its state, frames a second that arrive and that are analysed, frames dropped, seconds from arrival to
    the end of detection, when it last showed a face, how often its connection was lost, and why the last time.

    Of a process: how much of the last five seconds it was busy (to wait for a camera, for messages or for the next group is
    not; one near 100 % holds up the rest), how many processor cores it used meanwhile, and its memory. A `spare` (with
    --json under spares) takes the place of a process that dies; it is ready when it has loaded all libraries.

    Of a group that other machines work for: its workers there, and how much was refused at the door (with --json in
    processes[].counters.counts as network_denied, _malformed, _oversized, _replayed, _stray, _other_model).

    \b
    Exit code: 0 all cameras send and all processes run
               1 a camera is away, or a process is
               3 nothing runs
    """
    found = [health for folder in jobs() if (health := _health(folder)) is not None]
    if as_json:
        print_json({"jobs": [_as_json(health) for health in found]})
    elif not found:
        say("Nothing runs. `vultus watch` starts watching.")
    else:
        for health in found:
            _show(health)
    if not found:
        ctx.exit(NOTHING_RUNS)
    if not all(health.well for health in found):
        ctx.exit(NOT_WELL)


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Only the job that watches from this configuration.",
)
@json_option
@click.pass_context
def reload(ctx: click.Context, config_file: Path | None, as_json: bool) -> None:
    """Let running `vultus watch --config FILE` read their sources again: `kill -HUP` does the same.

    Sources that are new in the file are watched from now on, those that are gone no longer, those that changed anew;
    all others go on undisturbed. Everything else in the file needs a restart. A file with a mistake changes nothing. Jobs
    whose sources stand on their command line are left alone.
    """
    asked = [folder for folder in jobs() if _reads(folder, config_file)]
    if not asked:
        what = "from a configuration" if config_file is None else f"from {config_file}"
        say(f"Nothing that runs watches {what}.")
        ctx.exit(NOTHING_RUNS)
    answers = [msgspec.json.decode(ask(folder, "reload")) for folder in asked]
    if as_json:
        print_json({"jobs": answers})
    else:
        for answer in answers:
            tell_change(answer)
    if any("error" in answer for answer in answers):
        ctx.exit(NOT_WELL)


def _reads(folder: Path, config_file: Path | None) -> bool:
    """Whether the job in `folder` watches from a configuration, and from that file if one is given."""
    health = _health(folder)
    if health is None or health.config is None:
        return False
    if config_file is None:
        return True
    try:
        return config_file.samefile(health.config)
    except OSError:  # the job's file is gone
        return False


def _health(folder: Path) -> Health | None:
    try:
        return msgspec.json.decode(ask(folder, "status"), type=Health)
    except OSError:
        return None  # it ended just now
    except msgspec.DecodeError as error:  # ValidationError is one
        raise click.ClickException(
            f"the job in {folder} gives an answer of another version of vultus: {error}"
        ) from None


def _as_json(health: Health) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(health)
    return {"well": health.well, **tree}


def _show(health: Health) -> None:
    columns = (
        "camera",
        "state",
        ">in/s",
        ">analysed/s",
        ">dropped",
        ">latency",
        "last face",
        ">lost",
        "decoder",
        "last error",
    )
    line(f"job {health.pid}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(health.started))}")
    if health.cameras:
        table("", columns, [_row(camera) for camera in health.cameras])
    rows: list[tuple[object, ...]] = [
        (
            f"{process.group}[{process.worker}]",
            process.state,
            process.pid,
            process.restarts,
            f"{process.busy_share:.0%}",
            f"{process.cores:.2f}",
            f"{process.counters.resident / 1e6:.0f} MB",
        )
        for process in health.processes
        if process.state != "ended"
    ]
    rows += [("spare", spare.state, spare.pid, "", "", "", f"{spare.resident / 1e6:.0f} MB") for spare in health.spares]
    table("", ("process", "state", ">pid", ">restarts", ">busy", ">cores", ">memory"), rows)
    for process in health.processes:
        if process.hosts:
            _show_remotes(process)


def _show_remotes(process: WorkerMetrics) -> None:
    """The workers of other hosts, and what was refused at the door."""
    rows = [
        (remote.host, remote.pid, remote.state, _clock(remote.since), remote.finished, remote.busy_with)
        for remote in process.counters.remotes
    ]
    if rows:
        table(f"workers of {process.group}", ("host", ">pid", "state", "since", ">done", ">busy with"), rows)
    else:
        line(f"{process.group} waits for a worker of {', '.join(process.hosts)}", "yellow")
    kinds = {name.removeprefix("network_"): n for name, n in process.counters.counts.items() if name in REFUSALS}
    if kinds:
        line(f"{process.group} refused: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())), "yellow")


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def _row(camera: CameraHealth) -> tuple[object, ...]:
    return (
        camera.source,
        camera.state,
        f"{camera.fps_in:.1f}",
        f"{camera.fps_analysed:.1f}",
        camera.dropped,
        "" if camera.latency is None else f"{camera.latency * 1000:.0f} ms",
        "" if camera.last_face is None else _clock(camera.last_face),
        camera.restarts,
        camera.decoder,
        camera.last_error,
    )
