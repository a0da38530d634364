"""Finders of faces: one to begin with, another when it is busy, never more than there are processors for."""

import threading
from typing import Any

import numpy as np

from vultus.configs.schema import Config
from vultus.server.faces import Faces


def test_another_finder_is_opened_when_all_are_busy(registry: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    faces = Faces(Config())
    faces.open()
    try:
        inside, over = threading.Barrier(3), threading.Event()

        def work() -> None:
            with faces._lent() as finder:
                used.add(id(finder))
                inside.wait(20)
                over.wait(20)

        used: set[int] = set()
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        inside.wait(20)
        assert len(used) == 2
        waiting = threading.Thread(target=lambda: used.add(len(faces.find(np.zeros((64, 64, 3), np.uint8)))))
        waiting.start()
        over.set()
        for thread in (*threads, waiting):
            thread.join(20)
        assert len(faces._all) == 2
    finally:
        faces.close()
