"""Who is named to those who wait, and who is not: a process that is gone."""

import os
import signal

import pytest

from vultus.index import Gallery, GalleryBusy
from vultus.index.holder import NAME, Holder, holder

WRITES = """
import sys
from vultus.index import Gallery
gallery = Gallery.open(sys.argv[1])
with gallery._store.write():
    print("holds", flush=True)
    sys.stdin.read()
"""


def test_a_line_lasts_as_long_as_its_process(folder, python):
    with Gallery.open(folder) as gallery:
        gallery.enrol("Ada", [[1.0, 2.0]])
    assert holder(folder) is None
    child = python(WRITES, folder)
    assert child.stdout.readline() == "holds\n"
    who, since = holder(folder)
    assert who.startswith(f"process {child.pid} (-c) on {os.uname().nodename}")
    assert abs(since - os.stat(folder / NAME).st_mtime) < 1
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert holder(folder) is None
    second = python(WRITES, folder)  # the lock went with the process: nothing has to be cleaned up
    assert second.stdout.readline() == "holds\n"
    with (
        Gallery.open(folder, busy_timeout=0.05) as gallery,
        pytest.raises(GalleryBusy, match=rf"nothing was written: process {second.pid} .* has been writing since 20"),
    ):
        gallery.enrol("Ada", [[1.0, 2.0]])


def test_a_writer_of_which_nothing_is_known(folder, python):
    child = python(WRITES.replace("with", "gallery.enrol('Bob', [[1.0, 2.0]])\nwith"), folder)
    assert child.stdout.readline() == "holds\n"
    (folder / NAME).unlink()
    with (
        Gallery.open(folder, busy_timeout=0.05) as gallery,
        pytest.raises(GalleryBusy, match=rf"the last to have written was process {child.pid} \(-c\)"),
    ):
        gallery.enrol("Ada", [[1.0, 2.0]])


@pytest.mark.parametrize("line", [b"", b"\xff\xfe nonsense", b"nan", b"1" * 5000])
def test_nonsense_in_the_file_is_nobody(tmp_path, line):
    (tmp_path / NAME).write_bytes(line)
    file = Holder(tmp_path)
    assert holder(tmp_path) is None
    file.take("x" * 4000)
    assert holder(tmp_path)[0] == "x" * (512 - 15)
    (tmp_path / NAME).write_bytes(line)
    held = holder(tmp_path)
    assert held is None or isinstance(held[1], float)
    file.give_back()
    assert holder(tmp_path) is None
    file.close()
