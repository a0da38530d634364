"""Which device decodes video: what was asked for, if it is here, else the processor, and in words why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from vultus.configs.schema import Decode


class Choice(Struct, frozen=True):
    """A kind of device, or none, and why those that were tried are not taken."""

    kind: str | None = None
    why: str = ""

    def decoder(self, codec: str, *, accelerated: bool) -> str:
        """Who decodes a stream of this codec, in words."""
        if accelerated:
            return f"{codec} by {self.kind}"
        return f"{codec} in software{f' ({self.why})' if self.why else ''}"


def choose(limits: Decode, known: Sequence[str], trouble_of: Callable[[str], str | None]) -> Choice:
    """The device that is asked for or, with `auto`, the first that works of the kinds that are `known`.

    `trouble_of` opens a device of a kind, and says what is wrong with it, or none. With `none` nothing is tried.
    """
    if limits.hardware == "none":
        return Choice()
    if limits.hardware != "auto" and limits.hardware not in known:
        return Choice(None, f"this FFmpeg has no {limits.hardware}, only {', '.join(known)}")
    troubles = []
    for kind in known if limits.hardware == "auto" else [limits.hardware]:
        trouble = trouble_of(kind)
        if trouble is None:
            return Choice(kind, f"{kind} is not for this codec")
        troubles.append(f"{kind}: {trouble}")
    return Choice(None, f"no device: {'; '.join(troubles)}")
