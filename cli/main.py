"""The command `vultus`: a group whose subcommands are imported only when they are called.

Exit codes: 0 done; 1 done, but some inputs were refused (each is named on standard error); 2 wrong usage, or nothing
could be done; 130 stopped before the end, by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import sys
import traceback
from typing import Any

import click

_HANDED_OVER = "--arguments-in"

_COMMANDS = {
    "index": ("vultus.cli.index:index", "Put the faces of photos and videos into the gallery."),
    "status": ("vultus.cli.status:status", "How the running cameras and processes are."),
    "reload": ("vultus.cli.status:reload", "Let `vultus watch` read its list of sources again."),
    "watch": ("vultus.cli.watch:watch", "Name the people in cameras, videos and folders as they appear."),
    "worker": ("vultus.cli.worker:worker", "Work for the `watch` or `index` of another machine."),
    "keys": ("vultus.cli.keys:keys", "Make and show this machine's keys for that."),
    "sightings": ("vultus.cli.sightings:sightings", "List who was seen; follow it; delete what is old."),
    "query": ("vultus.cli.query:query", "Find the people of a photo in the gallery."),
    "people": ("vultus.cli.people:people", "List, show, enrol, rename, merge, split, hide, export and delete people."),
    "unknowns": (
        "vultus.cli.unknowns:unknowns",
        "People without a name who were seen: list, show, name, merge, ignore.",
    ),
    "detect": ("vultus.cli.detect:detect", "Show where the faces are in photos and videos; compare detectors."),
    "quality": (
        "vultus.cli.quality:quality",
        "Rank faces of photos by how well they can be recognised, with pictures.",
    ),
    "serve": ("vultus.cli.serve:serve", "Serve the gallery over HTTP: pages for people, an API for programs."),
    "secrets": ("vultus.cli.secrets:secrets", "Change the key of the server's secrets, or delete them."),
    "users": ("vultus.cli.users:users", "Who may sign in at the server: add, list, passwd, role, remove."),
    "calibrate": ("vultus.cli.calibrate:calibrate", "Set the threshold for a stated rate of false alarms."),
    "evaluate": (
        "vultus.cli.evaluate:evaluate",
        "Measure how accurate the models are, on published sets and on your own.",
    ),
    "gallery": ("vultus.cli.gallery:gallery", "What the gallery holds, and whether it is sound."),
    "models": ("vultus.cli.models:models", "List, fetch and verify the neural networks."),
    "doctor": ("vultus.cli.doctor:doctor", "Check this machine, the models and a camera, in words."),
    "bench": ("vultus.cli.bench:bench", "Measure how fast the engine is on this machine, beside other runtimes."),
    "demo": ("vultus.cli.demo:demo", "Show the whole way on sample photographs, in a minute."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which a new user meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, imported now; none if there is no such command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback behind an error message.")
@click.version_option(package_name="vultus")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Find people in pictures: cameras, videos and photo archives, one gallery, ordinary CPUs.

    \b
    Three jobs:
      vultus index ~/Pictures --label-from-folder      put an archive into the gallery
      vultus watch rtsp://192.0.2.7/stream             see who is in front of a camera
      vultus query somebody.jpg                        ask who that is
    """
    ctx.obj = {"debug": debug}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code and never raises for an error that can be told in one line."""
    _open_what_is_closed()
    return _written(_run(argv))


def _written(code: int) -> int:
    """The exit code, once what was answered has left this process; Python would fail in its own words at the end."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What could not be written stays in the buffer and is tried again at exit, when there is nobody to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code or isinstance(error, BrokenPipeError):
            return code
        _complain(_told(error))
        return 2
    return code


def _run(argv: list[str] | None) -> int:
    arguments = _own_arguments() if argv is None else argv
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # either lets what is in work tidy up, temporary files above all
            if signal.getsignal(number) is signal.SIG_DFL:  # as `vultus.cli.entry` leaves both
                signal.signal(number, signal.default_int_handler)
        code: Any = cli.main(args=arguments, prog_name="vultus", standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except SystemExit:
        # So end click and rich when the reader of our output (head, a pager) has had enough; that is its right.
        return 0
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        _complain(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("vultus: stopped", err=True)
        return 130
    except Exception as error:  # noqa: BLE001 - the one place where an error becomes a line for a person
        if "--debug" in arguments:
            traceback.print_exc()
        else:
            _complain(_told(error))
        return 2


def _own_arguments() -> list[str]:
    """What this process was called with; passwords among it are taken out of the process list first.

    A process cannot rewrite the list's line about itself, but it can become another one: it executes itself again with
    redacted arguments and leaves the real ones in an anonymous file.
    """
    given = sys.argv[1:]
    if given[:1] == [_HANDED_OVER]:
        with open(int(given[1]), "rb") as file:
            file.seek(0)
            handed: list[str] = json.load(file)
            return handed
    if not any("://" in argument for argument in given):
        return given
    from vultus.configs.address import redact  # not for `--help`

    shown = [redact(argument) for argument in given]
    if shown == given:
        return given
    file_number = os.memfd_create("vultus-arguments", 0)
    os.write(file_number, json.dumps(given).encode())
    again = [sys.executable, "-m", "vultus.cli.entry", _HANDED_OVER, str(file_number), *shown]
    os.execv(sys.executable, again)  # noqa: S606 - no shell wanted


def _open_what_is_closed() -> None:
    """Give a job that was started without standard streams (`>&-`) empty ones.

    Else the next file that is opened, a database perhaps, would get the number of standard output.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as we live
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    # What the terminal's character set lacks is spelled out rather than fatal.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(text: str) -> None:
    from vultus.cli.console import shown  # not for `--help`

    click.echo(f"vultus: {shown(text)}", err=True)


def _told(error: Exception) -> str:
    """One line for a person; errors that nobody wrote a message for say how to see more."""
    module = type(error).__module__
    text = " ".join(str(error).split())
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else f"cannot write: {error.strerror}"
    if text and (module.startswith("vultus.") or isinstance(error, OSError)):
        return text
    name = type(error).__name__
    return f"internal error: {name}: {text} (`vultus --debug ...` shows the details; please report it)"
