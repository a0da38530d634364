import itertools
import threading

import numpy as np
import pytest

from vultus.index.journal import runs
from vultus.index.locks import ReadWriteLock


def test_readers_share_writers_do_not():
    lock, inside = ReadWriteLock(), threading.Barrier(3, timeout=10)

    def read():
        with lock.reading():
            inside.wait()  # passes only if all three are inside at once

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()

    total = [0]

    def add():
        for _ in range(2000):
            with lock.writing():
                seen = total[0]
                total[0] = seen + 1

    writers = [threading.Thread(target=add) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert total == [8000]


def test_a_writer_goes_before_readers_that_came_later():
    lock, order = ReadWriteLock(), []

    def write():
        with lock.writing():
            order.append("writer")

    def read():
        with lock.reading():
            order.append("late reader")

    with lock.reading():
        writer = threading.Thread(target=write)
        writer.start()
        while not lock._writers_waiting:  # nothing announces it; the test's time limit ends this
            pass
        reader = threading.Thread(target=read)
        reader.start()
        assert order == []
    writer.join(10)
    reader.join(10)
    assert order == ["writer", "late reader"]


def test_an_exception_gives_the_lock_back():
    lock = ReadWriteLock()
    for hold in (lock.writing, lock.reading):
        with pytest.raises(KeyError), hold():
            raise KeyError
        with lock.writing():
            pass


def test_runs(rand):
    assert list(runs([])) == []
    assert list(runs([4])) == [(4, 4, 1)]
    numbers = np.unique(rand.integers(0, 60, 40)).tolist()
    for gap in (1, 2, 5):
        found = list(runs(numbers, gap))
        inside = [number for first, last, _ in found for number in numbers if first <= number <= last]
        assert inside == numbers
        assert sum(count for _, _, count in found) == len(numbers)
        assert all(after[0] - before[1] > gap for before, after in itertools.pairwise(found))
        assert gap > 1 or all(last - first + 1 == count for first, last, count in found)
