"""The loop of a process: frames that are too old are not worked on."""

import time
from typing import Any

import numpy as np
import pytest

from vultus.pipeline.frames import FrameReader, Image
from vultus.pipeline.hop import Delivery
from vultus.pipeline.messages import Chips, Frame, Message, Origin
from vultus.pipeline.metrics import Meter
from vultus.pipeline.queues import FairQueue, Inbox
from vultus.pipeline.runner import Cancelled, Runner


class Seen:
    """In place of a chain: what came."""

    def __init__(self) -> None:
        self.ages: list[tuple[str, bool, float]] = []

    def process(self, batch: list[Message], first: int = 0) -> list[Message]:
        self.ages += [(type(each).__name__, each.origin.live, round(time.time() - each.origin.time)) for each in batch]
        return []


@pytest.mark.parametrize("max_age", [1.0, None])
def test_frames_beyond_max_age_are_left_out_and_counted(max_age: float | None) -> None:
    inbox: Inbox[Delivery] = Inbox()
    meter, chain = Meter(), Seen()

    def message(live: bool, age: float) -> Any:
        origin = Origin(item=1, attempt=0, source="s", seq=0, live=live, time=time.time() - age)
        return Frame(origin=origin, image=Image(np.zeros((2, 2, 3), np.uint8)))

    old = message(live=True, age=60)
    chips = Chips(origin=old.origin, faces=(), chips=np.zeros((0, 112, 112, 3), np.uint8))
    runner = Runner(
        inbox=inbox, queue=FairQueue(4, lambda: None), reader=FrameReader(), meter=meter, cancelled=Cancelled(),
        finished=lambda _: None, takes_items=False, max_batch=8, max_wait=0.0, max_age=max_age,
    )  # fmt: skip
    messages = [message(True, 0), old, message(False, 60), chips]
    runner._intake.opened = lambda each: each if runner._intake.fresh(each) else None  # type: ignore[method-assign]
    for each in messages:
        inbox.put(each)
    inbox.close()
    runner.run(chain)  # type: ignore[arg-type]
    kept = [("Frame", True, 0), *([] if max_age else [("Frame", True, 60)]), ("Frame", False, 60), ("Chips", True, 60)]
    assert chain.ages == kept
    counters = meter.snapshot(waiting=0, queued=0, lent=0)
    assert counters.dropped == ({"late": 1} if max_age else {})
    assert sum(counters.ages) == (2 if max_age else 3), "files have no age"
