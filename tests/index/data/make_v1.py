"""Writes `v1/`, the stored gallery of format 1. Run once; a newer format gets a script and a folder of its own."""

import shutil
from pathlib import Path

import numpy as np

from vultus.index import FaceRecord, FileRecord, Gallery, Sighting

FOLDER = Path(__file__).parent / "v1"


def row(main: int) -> np.ndarray:
    """A vector that points 0.96 along one axis and 0.28 along the next."""
    vector = np.zeros((1, 8), np.float32)
    vector[0, main], vector[0, (main + 1) % 8] = 0.96, 0.28
    return vector


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    with Gallery.open(FOLDER, model="model-of-v1") as gallery:
        gallery.enrol("Ada", row(0))
        gallery.enrol("Bob", row(1))
        gallery.commit_file(FileRecord(source="/photos/1.jpg", size=1000, mtime_ns=5, digest=b"d"), row(2), label="Bob")
        zoe = gallery.enrol("Zoe", row(3))
        points = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10))
        box = (10, 20, 30, 40)
        gallery.add_faces(
            row(5),
            [FaceRecord(source="door", time=1.7e9, box=box, landmarks=points, track=7, chip=b"\xff\xd8\xff\xd9")],
        )
        gallery.snapshot()
        gallery.merge("Ada", "Bob")
        gallery.rename(zoe, "Zoë")
        gallery.remove_faces(gallery.add_faces(row(6)))
        gallery.refuse_file(FileRecord(source="/photos/bad.jpg", size=10, mtime_ns=6), "cut short")
        gallery.add_sighting(Sighting(run="run", source="door", track=1, time=1.7e9))
        gallery.add_sighting(Sighting(run="run", source="door", track=1, time=1.7e9, identity=zoe, similarity=0.75))
        gallery.close(snapshot=False)  # so that reading it replays every kind of change


if __name__ == "__main__":
    main()
