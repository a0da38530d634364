"""Whether a camera answers, what it sends, and what to do if it does not: for `vultus doctor` and the server's pages."""

from __future__ import annotations

import threading
import time
from itertools import islice
from typing import Literal

from msgspec import Struct, structs

from vultus.configs.address import redact_text
from vultus.configs.schema import Config, Source
from vultus.configs.serving import Networks
from vultus.pipeline.errors import RefusedInput
from vultus.stages.camera import reader
from vultus.stages.grabber import Grabber, Shot, SourceLost
from vultus.stages.preview import jpeg
from vultus.stages.sources import Unusable, find
from vultus.stages.view import View

_WATCHED = 1.5
"""Seconds after the first picture in which the others are counted."""
_SIDE = 960


class Probe(Struct, frozen=True, kw_only=True):
    """What came of connecting to a camera."""

    reason: str = ""
    """Why there is no picture, without passwords; empty if there is one."""
    remedy: str = ""
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    """Frames a second that arrived."""
    jpeg: bytes = b""
    """A picture, its longer side at most 960."""

    @property
    def works(self) -> bool:
        """Whether it sent a picture."""
        return not self.reason


def probe(
    address: str,
    config: Config,
    *,
    transport: Literal["tcp", "udp"] | None = None,
    networks: Networks | None = None,
    count: bool = True,
) -> Probe:
    """Open a camera (or a file that is played), wait for its first picture and, to `count` them, for those after it.

    Takes at most `decode.open_timeout` and `decode.stall_timeout` and a second and a half, unless a name server does not
    answer. `networks` as in `video.listen`.
    """
    limits = config.decode
    (found,) = islice(find([Source(address=address, transport=transport, paced=True)]), 1)
    if isinstance(found, Unusable):
        return Probe(reason=found.reason, remedy=remedy(found.reason))
    item = structs.replace(found.item(0), networks=networks)
    ready, arrivals = threading.Condition(), _Arrivals()
    grabber = Grabber("probe", reader(item, limits, None), ready, arrivals.see)
    grabber.start()
    limit = limits.open_timeout + limits.stall_timeout
    with ready:
        ready.wait_for(lambda: grabber.waiting or grabber.error is not None, timeout=limit)
        if count and grabber.waiting:
            ready.wait_for(lambda: grabber.error is not None, timeout=_WATCHED)
        error, decoder = grabber.error, grabber.decoder
        shot = grabber.waiting[-1][1] if grabber.waiting else None
    grabber.abandon()
    if shot is None:
        reason = redact_text(str(error or SourceLost(f"no picture within {limit:g} s")))
        return Probe(reason=reason, remedy=remedy(reason))
    try:
        image = shot()
    except RefusedInput as refused:
        return Probe(reason=str(refused), remedy="let the camera send a smaller picture")
    return Probe(
        codec=decoder.partition(" ")[0],
        width=image.width,
        height=image.height,
        fps=round(arrivals.rate, 1),
        jpeg=jpeg(View(image, _SIDE).pixels, config.preview.quality),
    )


class _Arrivals:
    """When frames came."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def see(self, _when: float, _shot: Shot) -> None:
        self._times.append(time.monotonic())

    @property
    def rate(self) -> float:
        """Frames a second, without the burst with which servers begin."""
        came = list(self._times)
        times = [moment for moment in came if moment - came[0] > 0.3]
        span = times[-1] - times[0] if len(times) > 1 else 0.0
        return (len(times) - 1) / span if span > 0 else 0.0


def remedy(said: str) -> str:
    """What to try next, by what went wrong."""
    for word, what in (
        ("must not lead", "if that is meant, let the configuration allow it; or list the camera under `sources` there"),
        ("password", "put the right user and password into the address: rtsp://USER:PASSWORD@HOST/PATH"),
        ("refused", "is the camera on, is the port right (RTSP: 554), does a firewall stand between?"),
        ("not known", "use the camera's IP address, or mend the name service"),
        ("path", "look the stream's path up in the camera's manual"),
        ("no answer", "is the camera reachable from this machine (ping), and is RTSP switched on in its settings?"),
    ):
        if word in said:
            return what
    return "does another player show this address from this machine?"
