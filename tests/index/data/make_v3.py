"""Writes `v3/`, the stored gallery of format 3. Run once, by the program of that format; see `make_v1.py`."""

import shutil
from pathlib import Path

import numpy as np

from vultus.configs.schema import Audit
from vultus.index import FaceRecord, Gallery, Shot, Sighting

FOLDER = Path(__file__).parent / "v3"


def row(main: int, more: int = 1) -> np.ndarray:
    """A vector that points 0.96 along one axis and 0.28 along another."""
    vector = np.zeros((1, 8), np.float32)
    vector[0, main], vector[0, (main + more) % 8] = 0.96, 0.28
    return vector


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    with Gallery.open(FOLDER, model="model-of-v3") as gallery:
        gallery.enrol("ada", row(0), [FaceRecord(source="1.jpg", quality=0.5, collection="office")])
    with Gallery.open(FOLDER, audit=Audit(enabled=True), actor="maker") as gallery:
        gallery.enrol("ada", np.concatenate((row(0, 2), row(0, 3))), [FaceRecord(quality=0.9), FaceRecord()])
        zoe = gallery.enrol("Zoë", row(3))
        gallery.enrol("Bob", row(1))
        gallery.merge("ada", "Bob")
        records = [FaceRecord(source="door", time=1.7e9 + at, quality=0.8, track=at) for at in range(2)]
        strangers = [gallery.unknowns.place(row(5, at + 1), [records[at]], 0.3)[0].identity for at in range(2)]
        for track, person in enumerate((strangers[0], zoe, None)):
            seen = Sighting(run="run", source="door", track=track, time=1.7e9 + track, identity=person, similarity=0.5)
            gallery.add_sighting(seen, [Shot(jpeg=b"\xff\xd8\xff\xd9", time=1.7e9 + track, quality=0.5)])
        gallery.deny("ada", other="Zoë")
        with gallery.audit.acting("eve"):
            gallery.search(row(0), 2)
            gallery.hide("Zoë")
        gallery.close(snapshot=False)


if __name__ == "__main__":
    main()
