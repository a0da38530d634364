"""The loop of sockets, without the processes around it."""

import threading
from pathlib import Path

import numpy as np

from vultus.pipeline.codec import Part
from vultus.pipeline.transport import Dealer, Loop, Router


def test_a_large_message_starts_no_thread(tmp_path: Path) -> None:
    """Of pyzmq, which would keep one with files of its own from the first frame with two faces on."""
    before, came = set(threading.enumerate()), list[bytes]()
    sent = np.arange(1 << 20, dtype=np.uint8)

    def received(_name: str, parts: list[Part]) -> None:
        came.append(bytes(parts[1]))
        loop.stop()

    with Loop() as loop:
        Router(loop, f"ipc://{tmp_path}/r", received)
        dealer = Dealer(loop, "d", f"ipc://{tmp_path}/r", lambda _parts: None)
        assert dealer.send([b"head", sent])
        loop.after(10, loop.stop)
        loop.run(lambda: None)
    assert came == [sent.tobytes()]
    assert set(threading.enumerate()) == before
