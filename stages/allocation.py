"""How much memory FFmpeg may take at once."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_LIBRARY = "/libavutil"


def bound(most: int) -> bool:
    """Refuse FFmpeg, in this process and from now on, blocks of more than `most` bytes; whether that could be arranged.

    What an RTSP server says of its stream, FFmpeg reads whole, up to the 2 GB that the server announces. PyAV has no
    setting for it, so the library that PyAV has loaded is asked itself; on Linux, if it was not linked statically.
    """
    with suppress(OSError, AttributeError), open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if _LIBRARY in f"/{path}":
                ctypes.CDLL(f"/{path}").av_max_alloc(ctypes.c_size_t(most))
                return True
    return False
