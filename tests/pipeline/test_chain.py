import re
import subprocess
import sys
from pathlib import Path

import pytest
import toys

from vultus.configs.schema import Config
from vultus.pipeline.chain import Chain
from vultus.pipeline.messages import Chips, Item, ItemDone, ItemEnd


def item(number, frames):
    return Item(item=number, attempt=0, kind="video", source="s", address=f"frames={frames}")


def chain(*names, **options):
    return Chain([toys.build(name, Config()) for name in names], **options)


def test_the_whole_way_in_one_process():
    with chain("decode", "detect", "track", "align", "embed", "store") as stages:
        (done,) = stages.process([item(3, 5)])
    assert done == ItemDone(item=3, attempt=0, source="s", status="done", faces=5)


def test_a_long_video_is_not_materialised():
    with chain("decode", "detect", "track", "align") as stages:
        outputs = stages.process([item(3, 10**9)])
        assert [next(outputs).origin.seq for _ in range(3)] == [0, 1, 2]
        outputs.close()


class Listing(toys.Toy):
    """Returns a list, and notes how large its batches are."""

    name = "detect"

    def process(self, batch):
        self.sizes = [*getattr(self, "sizes", []), len(batch)]
        return list(batch)


def test_lists_go_on_as_batches_and_generators_one_by_one():
    first, second, third = Listing(Config()), toys.Embed(Config()), Listing(Config())
    again = Listing(Config())
    with Chain([first, again, second, third]) as stages:
        assert len(list(stages.process([item(n, 1) for n in range(4)]))) == 4
    assert (first.sizes, again.sizes, third.sizes) == ([4], [4], [1, 1, 1, 1])


def test_a_message_may_be_refused_between_stages():
    with chain("decode", "detect", "track", "align", admit=lambda message: message.origin.seq != 1) as stages:
        kinds = [(type(message), message.origin.seq) for message in stages.process([item(3, 3)])]
    assert kinds == [(Chips, 0), (Chips, 2), (ItemEnd, 3)]


def test_an_item_that_is_refused_unopened_enters_behind_decode():
    origin = toys.Decode(Config()).origin(item(3, 0), 0)
    with chain("decode", "detect", "store") as stages:
        (done,) = stages.process([ItemEnd(origin=origin, refused="no")], first=1)
    assert (done.status, done.reason) == ("refused", "no")


class Noisy(toys.Toy):
    def __init__(self, log, name, fails=()):
        self.log, self.name, self.fails = log, name, fails

    def open(self, context):
        self.log.append(f"open {self.name}")
        if "open" in self.fails:
            raise OSError(f"{self.name} is not here")

    def close(self):
        self.log.append(f"close {self.name}")
        if "close" in self.fails:
            raise OSError(f"{self.name} does not close")


def test_after_a_failed_open_what_was_touched_is_closed():
    log = []
    with (
        pytest.raises(OSError, match="b is not here"),
        Chain([Noisy(log, "a"), Noisy(log, "b", ["open"]), Noisy(log, "c")]),
    ):
        pass
    assert log == ["open a", "open b", "close b", "close a"]


def test_every_stage_is_closed_although_one_fails_to():
    log = []
    with pytest.raises(OSError, match="b does not close"), Chain([Noisy(log, "a"), Noisy(log, "b", ["close"])]):
        pass
    assert log == ["open a", "open b", "close b", "close a"]


def test_a_chain_needs_a_stage():
    with pytest.raises(ValueError, match="at least one stage"):
        Chain([])


def test_the_example_of_the_document_runs():
    text = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text()
    code = re.search(r"## In one process.*?```python\n(.*?)```", text, re.DOTALL).group(1)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == (
        "a.jpg I read nothing\n"
    )
