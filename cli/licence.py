"""Licences that forbid commercial use: shown before a model is used for the first time, and recorded once accepted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from vultus.cli.console import say
from vultus.weights import LicenceNotAccepted, Registry

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def accept_licence_option(command: Decorated) -> Decorated:
    """`--accept-licence`."""
    return click.option(
        "--accept-licence", is_flag=True, help="Record that you go by a licence that forbids commercial use."
    )(command)


def accept_with(name: str) -> str:
    """The command that accepts it."""
    return f"`vultus models pull {name} --accept-licence` records that you go by it"


def agree(registry: Registry, name: str, given: bool) -> None:
    """See to it that the licence of a model is accepted: by `--accept-licence`, or asked for at a terminal.

    Raises LicenceNotAccepted.
    """
    if registry.accepted(name):
        return
    entry = registry.entry(name)
    confirm(name, entry.licence, entry.origin, given)
    registry.accept(name)


def confirm(name: str, licence: str, origin: str, given: bool) -> None:
    """Show a licence that forbids commercial use, and go on only if it is accepted."""
    say(f"{name}: {licence}", "yellow")
    say(f"{name}: not for commercial use; the licence: {origin}", "yellow")
    if given or (sys.stdin.isatty() and click.confirm("Do you go by it?", err=True)):
        return
    raise LicenceNotAccepted(f"{name}: its licence is not accepted; `--accept-licence` records that you go by it")
