"""What goes into a gallery and what comes out of it.

Boxes are `(x, y, width, height)` and landmarks five `(x, y)` points, in pixels of the upright source picture. Times are
seconds since the epoch, UTC; positions are seconds from the start of a file. Similarities are cosines in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Landmarks = tuple[Point, Point, Point, Point, Point]
FileStatus = Literal["done", "refused"]
FileState = Literal["done", "refused", "changed", "new"]


class FaceRecord(Struct, frozen=True, kw_only=True):
    """What is known of a face beside its vector; all of it optional."""

    source: str = ""
    """Photo, video or camera it was seen in."""
    position: float | None = None
    time: float | None = None
    box: Box | None = None
    landmarks: Landmarks | None = None
    score: float | None = None
    """Detector confidence, 0..1."""
    quality: float | None = None
    track: int | None = None
    chip: bytes | None = None
    """The aligned face as a JPEG file, at most 1 MiB."""
    collection: str | None = None
    """A set of faces that searches can be restricted to: a customer, a site, a case. 1 to 200 characters."""


class StoredFace(FaceRecord, frozen=True, kw_only=True, eq=False):
    """A face as the gallery holds it."""

    id: int
    identity: int | None
    name: str | None
    created: float
    vector: np.ndarray | None = None
    """`(dim,)` float32 of length 1; like `chip`, filled by `Gallery.face` only."""


class FileRecord(Struct, frozen=True, kw_only=True):
    """A file of an archive, as it was when it was read."""

    source: str
    size: int
    mtime_ns: int
    digest: bytes = b""
    """Any digest of the content, empty if none was taken."""
    label: str | None = None
    """The name that was asked for its face, whether or not one could be given it."""


class FileFaces(Struct, frozen=True, kw_only=True, eq=False):
    """A file and what it gave, as `Gallery.commit_files` takes it."""

    record: FileRecord
    vectors: ArrayLike = ()
    """`(n, dim)`, n may be 0."""
    faces: Sequence[FaceRecord] | None = None
    """One a vector; those without a source get the file's."""
    label: str | None = None
    """The person whose faces they are: all of them, or those at the positions `labelled`."""
    labelled: Sequence[int] | None = None
    refused: str | None = None
    """Why the file cannot be used; it gave nothing then."""


class KnownFile(Struct, frozen=True, gc=False):
    """What the gallery remembers of a file; short because there are hundreds of thousands of them."""

    size: int
    mtime_ns: int
    status: FileStatus
    faces: int
    label: str | None = None
    """The one of its `FileRecord`."""
    reason: str | None = None
    """Why it was refused."""


class Identity(Struct, frozen=True, kw_only=True):
    """A person."""

    id: int
    name: str | None
    """None: an unknown person, made by clustering."""
    faces: int
    created: float
    hidden: bool = False
    """Whether searches and lists leave the person out."""


class Person(Identity, frozen=True, kw_only=True):
    """A person, with what a list shows beside the name."""

    best_face: int | None
    """The face of the best quality."""
    last_seen: float | None
    """Time of the last sighting."""


class Collection(Struct, frozen=True, kw_only=True):
    """A set of faces that searches can be restricted to, and how large it is."""

    name: str
    faces: int
    people: int
    """Who have faces in it, with and without a name."""


class Unknown(Struct, frozen=True, kw_only=True):
    """A person without a name, made of faces that are alike."""

    id: int
    faces: int
    sightings: int
    first: float
    last: float
    """When this person was seen first and last; of photos without a time, when they were stored."""
    best_face: int | None
    """The face of the best quality."""
    sources: tuple[str, ...]
    """Photos, videos and cameras with most faces, up to five."""
    created: float
    hidden: bool = False


class Act(Struct, frozen=True, kw_only=True):
    """What a user did to people and faces, and can undo."""

    id: int
    kind: str
    """merge, split, move, name, rename, hide or show."""
    at: float
    summary: str
    """In words, with the names that people have now."""
    undone: float | None = None
    """When it was undone."""
    lost: int = 0
    """Filled by `Gallery.undo`: faces that could not be brought back, since they are gone or somebody else's by now."""


class NearFace(Struct, frozen=True, kw_only=True):
    """A face that is near a probe: one that speaks for a person, or an answer of `Gallery.search_faces`."""

    face_id: int
    identity: int | None
    name: str | None
    similarity: float
    """To the probe, of the stored vectors in double precision."""
    source: str
    position: float | None = None
    time: float | None = None
    box: Box | None = None
    quality: float | None = None
    collection: str | None = None


class Match(Struct, frozen=True, kw_only=True):
    """An answer to a probe: a person, by the best of the person's faces, or a face of nobody.

    `similarity`, `source`, `face_id`, `position`, `time` and `box` are those of the best face. An unknown person, one
    without a name, has an `identity` and no `name`.
    """

    identity: int | None
    name: str | None
    similarity: float
    source: str
    face_id: int
    position: float | None = None
    time: float | None = None
    box: Box | None = None
    hidden: bool = False
    """Whether the person is hidden; only if the search asked for such."""
    faces: tuple[NearFace, ...] = ()
    """The faces that spoke for the person, best first, the best one included: as many as the search was asked for."""
    margin: float | None = None
    """`similarity` minus that of the next person, in [0, 2]: the first person below this match in the answer or, if there
    is none, the one whom the next match beyond it shows (for `k` or the threshold it is not in the answer). None if that
    is nobody."""
    probability: float | None = None
    """That the probe shows this person, in [0, 1]. None of a face without a person, and while the gallery has no
    calibration."""


class Where(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which faces a search looks at; fields that are set must all hold."""

    labelled: bool | None = None
    """True: faces of named people only; False: faces without a name only."""
    hidden: bool | None = False
    """False: nobody who is hidden; True: nobody else; none: both."""
    source: str | None = None
    """Sources that begin with this, for instance a folder."""
    after: float | None = None
    """Faces whose time is this or later; faces without a time are left out."""
    before: float | None = None
    """Faces whose time is earlier than this; faces without a time are left out."""
    people: tuple[int | str, ...] | None = None
    """Faces of these people, by number or name; somebody who is not there is an UnknownIdentity."""
    quality: float | None = None
    """Faces of this quality or better; faces whose quality is not known are left out."""
    collection: str | None = None
    """Faces of this collection."""


class Denial(Struct, frozen=True, kw_only=True):
    """A negative example: a person is not on a face, or two people are not the same."""

    identity: int
    name: str | None
    face: int | None = None
    source: str | None = None
    """Where the face was seen."""
    other: int | None = None
    """The other person of a pair; which of the two is which means nothing."""
    other_name: str | None = None
    at: float
    """When it was said."""


class Confusable(Struct, frozen=True, kw_only=True):
    """Two people with names who are so similar that one may be taken for the other, by their two most similar faces."""

    identity: int
    name: str
    face: int
    source: str
    other: int
    other_name: str
    other_face: int
    other_source: str
    similarity: float
    shares: tuple[float, float]
    """Of the faces of either that were looked at, the share that is near to the other, each in [0, 1]."""

    @property
    def reading(self) -> str:
        """What is to be made of it: most faces of one are near the other, or a single one is."""
        return "the same person twice?" if max(self.shares) > 0.5 else "a face with the wrong name?"


class Sighting(Struct, frozen=True, kw_only=True):
    """Somebody was seen by a camera or in a video: one row for each (run, source, track)."""

    run: str
    """Name of the job, so that track numbers of two jobs do not meet."""
    source: str
    track: int
    time: float
    position: float | None = None
    identity: int | None = None
    similarity: float | None = None
    box: Box | None = None
    quality: float | None = None
    id: int = 0
    """Given by the gallery; rises with every write, so that the last one read is a cursor."""
    name: str | None = None
    """Filled on reading: what the person is called now; none for an unknown person too."""
    hidden: bool = False
    """Filled on reading: whether the person is hidden now."""
    shot: int | None = None
    """Filled by `Gallery.seen` and `Gallery.sighting`: its clearest picture, if one is kept."""


class Seen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sightings are wanted; fields that are set must all hold."""

    people: tuple[int | str, ...] | None = None
    """Of these people, by number or name; somebody who is not there is an UnknownIdentity."""
    unknown: bool | None = None
    """True: of nobody who has a name; False: of people who have one."""
    hidden: bool | None = False
    """False: of nobody who is hidden; True: of nobody else; none: both."""
    source: str | None = None
    """Of this camera or video."""
    after: float | None = None
    """Of this time or later."""
    before: float | None = None
    """Earlier than this."""
    similarity: float | None = None
    """Of people to whom the face was at least as similar."""


class Shot(Struct, frozen=True, kw_only=True):
    """One of the clearest pictures of a sighting."""

    jpeg: bytes
    """The aligned face as a JPEG file, at most 1 MiB."""
    time: float
    position: float | None = None
    quality: float | None = None
    id: int = 0
    """Given by the gallery."""


class Enrolled(Struct, frozen=True, kw_only=True):
    """What `Gallery.enrol_sighting` did."""

    identity: int
    name: str | None
    faces: tuple[int, ...]
    """Those of the sighting, which are the person's now."""
    added: int
    """How many of them are new."""


class Stats(Struct, frozen=True, kw_only=True):
    """Figures of a gallery."""

    identities: int
    """People with a name."""
    unknown: int
    """People without one, who have faces."""
    faces: int
    unlabelled: int
    """Faces of nobody who has a name."""
    files: int
    sightings: int
    bytes_per_vector: int
    """In memory once the index is loaded."""
    index: str
    recall: float | None
    """How often a search finds the nearest person, measured when the index was made; none until it is loaded, and for kinds
    that do not leave out lists."""
    model: str | None
    dim: int | None
    last_snapshot: float | None
    """When the snapshot on disk was written; none if there is none."""
    size_bytes: int
    """Of all files of the gallery."""
    encrypted: bool = False


class Report(Struct, frozen=True, kw_only=True):
    """What `Gallery.verify` found."""

    faces: int
    problems: tuple[str, ...]
    """In words, empty if all is well."""
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems
