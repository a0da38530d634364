"""Streams whose address nobody trusts (`reach`), in the words of live sources."""

from __future__ import annotations

from collections.abc import Collection

from vultus.configs.serving import Networks
from vultus.stages.grabber import SourceLost
from vultus.stages.reach import Forbidden, UnknownHost, check_connections, pinned


def target(address: str, networks: Networks | None) -> tuple[str, dict[str, str]]:
    """What FFmpeg is to open, and how. Raises SourceLost for what leads where it may not."""
    if networks is None:
        return address, {}
    try:
        return pinned(address, networks)
    except Forbidden as error:
        raise SourceLost(str(error), slow=True) from None
    except UnknownHost as error:
        raise SourceLost(str(error), knock="door") from None


def judge(before: Collection[str], networks: Networks) -> None:
    """Whether the connection is where it may be. Raises SourceLost."""
    try:
        check_connections(before, networks)
    except Forbidden as error:
        raise SourceLost(str(error), slow=True) from None
