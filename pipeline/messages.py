"""Every message that crosses a stage border, in one file.

Messages are MessagePack maps with the key `type` naming the class; `docs/wire.md` describes the bytes. New fields go to
the end with a default, so that an older reader skips them and an older writer may leave them out; a change that this
rule cannot carry raises `codec.WIRE_VERSION`.

Boxes are `(x, y, width, height)` and landmarks five `(x, y)` points (right eye, left eye, nose, right and left mouth
corner, as the person sees it), in pixels of the upright source picture. Images are uint8 BGR, shape `(h, w, 3)`.
Times are seconds since the epoch, UTC; positions are seconds from the start of a file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from vultus.configs.schema import View
from vultus.configs.serving import Networks
from vultus.pipeline.frames import Image

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Landmarks = tuple[Point, Point, Point, Point, Point]
Reason = Literal["below_threshold", "ambiguous", "nobody_known"]
Count = Annotated[int, Meta(ge=0)]


class Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Root of the messages."""


class Item(Message, frozen=True, kw_only=True, tag="item"):
    """A unit of work for `decode`: one photo, one video file, or one camera for as long as it is watched.

    A `paced` item is a video file that is played at its own speed, as a camera would send it, and ends.
    """

    item: Count
    """Number that the feeder gave it, unique in this run."""
    attempt: Count
    """0 at first, one more each time it is handed out again after a process died."""
    kind: Literal["photo", "video", "camera", "webcam", "paced"]
    source: str
    """How it is called in outputs; never holds a password."""
    address: str = ""
    """Path or URL to open; may hold a password, so it goes to `decode` only and is never logged."""
    label: str | None = None
    """Name of the person that the archive's folder gives to a lone face of this item."""
    view: View = View()
    """How it is read, as the configuration says of this source."""
    networks: Networks | None = None
    """Where `address` may lead, if it was not the owner of this machine who wrote it; none: anywhere."""

    @property
    def live(self) -> bool:
        """Whether the live rule applies (drop the oldest), not the lossless one (wait)."""
        return self.kind in ("camera", "webcam", "paced")


class Leave(Message, frozen=True, kw_only=True, tag="leave"):
    """Feeder → decode: watch this camera no longer; its `ItemEnd` follows, and all others go on."""

    item: Count


class Noticed(Message, frozen=True, kw_only=True, tag="noticed"):
    """detect → decode, past all queues: this camera shows faces now."""

    item: Count


class Origin(Struct, frozen=True, kw_only=True):
    """Which frame of which item a message is about."""

    item: Count
    attempt: Count
    source: str
    seq: Count
    """Number of the frame within the item; it rises, with gaps where frames were left out."""
    live: bool
    time: float
    position: float | None = None
    label: str | None = None
    still: bool = False
    """True for a photo: no neighbours in time, so no tracking."""


class Face(Struct, frozen=True, kw_only=True):
    """A detected face."""

    box: Box
    landmarks: Landmarks
    score: float
    """Detector confidence, 0..1."""


class TrackedFace(Struct, frozen=True, kw_only=True):
    """A face that was chosen for embedding."""

    face: Face
    track: Count
    """Number of the track within its item; in a photo, number of the face."""
    quality: float
    """0..1, from size, sharpness, pose, exposure and detector score (`stages/quality.py`); behind `embed`, of a model whose
    embeddings say it themselves, from their length."""
    magnitude: float | None = None
    """That length; none before `embed`, and of other models."""
    found: Landmarks | None = None
    """The detector's landmarks, by which it was tracked and judged, if the face was aligned by others (`stages/align.py`)."""


class Frame(Message, frozen=True, kw_only=True, tag="frame"):
    """decode → detect."""

    origin: Origin
    image: Image


class Detections(Message, frozen=True, kw_only=True, tag="detections"):
    """detect → track."""

    origin: Origin
    image: Image
    faces: tuple[Face, ...]


class Tracked(Message, frozen=True, kw_only=True, tag="tracked"):
    """track → align: the faces of this frame that deserve an embedding."""

    origin: Origin
    image: Image
    faces: tuple[TrackedFace, ...]
    alive: tuple[Count, ...] = ()
    """Tracks of a live source that are in the picture now; empty for files."""


class Chips(Message, frozen=True, kw_only=True, tag="chips"):
    """align → embed."""

    origin: Origin
    faces: tuple[TrackedFace, ...]
    chips: np.ndarray
    """`(n, 112, 112, 3)` uint8 BGR, one for each face."""
    alive: tuple[Count, ...] = ()


class Embedded(Message, frozen=True, kw_only=True, tag="embedded"):
    """embed → match or store."""

    origin: Origin
    faces: tuple[TrackedFace, ...]
    chips: np.ndarray
    vectors: np.ndarray
    """`(n, dim)` float32, each of length 1."""
    alive: tuple[Count, ...] = ()


class ItemEnd(Message, frozen=True, kw_only=True, tag="item_end"):
    """Last message of an item, from `decode` on through every stage; carries what makes the end checkable."""

    origin: Origin
    frames: Count = 0
    """Frames decoded."""
    faces: Count = 0
    """Faces that `align` sent on: whoever stores the item waits until it has as many."""
    refused: str | None = None
    """Why the input could not be used, in words; none if it could."""
    digest: bytes = b""
    """BLAKE2b-128 of the file's bytes (photos), empty otherwise."""
    size: Count = 0
    mtime_ns: int = 0


class ItemDone(Message, frozen=True, kw_only=True, tag="item_done"):
    """store or match → feeder: the item is durably finished, or has to be handed out again."""

    item: Count
    attempt: Count
    source: str
    status: Literal["done", "refused", "retry"]
    faces: Count = 0
    reason: str | None = None
    unlabelled: bool = False
    """The photo has a label, and its faces are stored without: which one is meant is unclear, or it is no person's name."""


class Sighting(Message, frozen=True, kw_only=True, tag="sighting"):
    """Somebody was seen; one for each track once it is decided, again if the decision changes."""

    item: Count
    source: str
    time: float
    position: float | None
    track: Count
    identity: int | None
    """None for a person who matches nobody in the gallery; without a `name` the number of an unknown person."""
    name: str | None
    similarity: float | None
    """Cosine to the best face of the identity; for an unknown, to the nearest face of anybody with a name; none if the
    gallery knows nobody."""
    box: Box
    quality: float = 0.0
    reason: Reason | None = None
    """Why nobody was recognised, if so."""


class SourceState(Message, frozen=True, kw_only=True, tag="source_state"):
    """decode → whoever runs the job: a camera came, went, or will be tried again."""

    item: Count
    source: str
    state: Literal["connected", "lost", "ended"]
    reason: str = ""
    retry_in: float | None = None
    decoder: str = ""
    """Of a connected one, who decodes it, in words."""
    size: tuple[Count, Count] | None = None
    """Of a connected one, its picture's width and height."""


class WorkerState(Message, frozen=True, kw_only=True, tag="worker_state"):
    """Supervisor → whoever runs the job: a stage process died and is started again; a worker of another host came or went."""

    group: str
    worker: Count
    state: Literal["died", "restarted", "joined", "left"]
    reason: str = ""
    host: str = ""
    """Of a worker that `joined` or `left`."""


MAX_JPEG = 2 << 20
"""Bytes of a live picture."""
MAX_SHOWN = 512
"""Faces of a picture, and people before a camera, that are told of at once."""
Jpeg = Annotated[bytes, Meta(max_length=MAX_JPEG)]


class Preview(Message, frozen=True, kw_only=True, tag="preview"):
    """decode, or track where faces are veiled → whoever looks: what a camera sees."""

    item: Count
    time: float
    """When its frame arrived."""
    width: Count
    height: Count
    jpeg: Jpeg
    full: bool = False
    """Whether it is a single picture that was asked for, and larger."""
    veiled: bool = False
    """Whether the faces of all who are not known to be shown are coarse squares in it."""


class Spotted(Struct, frozen=True, kw_only=True):
    """A face and its track."""

    track: Count
    box: Box
    score: float


class Boxes(Message, frozen=True, kw_only=True, tag="boxes"):
    """track → whoever looks: the faces of an analysed frame, also if there are none."""

    item: Count
    time: float
    width: Count
    height: Count
    """Of the source picture, in whose pixels boxes are."""
    faces: Annotated[tuple[Spotted, ...], Meta(max_length=MAX_SHOWN)]


class Who(Struct, frozen=True, kw_only=True):
    """What is decided of a track."""

    track: Count
    identity: int | None = None
    name: str | None = None
    similarity: float | None = None
    reason: Reason | None = None
    hidden: bool = False
    """A person of whom nothing is to be said."""
    clear: bool = False
    """Whether the face may be seen in a picture in which others are veiled."""


class Names(Message, frozen=True, kw_only=True, tag="names"):
    """match → whoever looks: all decided tracks that are before a camera now."""

    item: Count
    people: Annotated[tuple[Who, ...], Meta(max_length=MAX_SHOWN)]


class Mark(Struct, frozen=True, kw_only=True):
    """A face to draw on a live picture."""

    box: Box
    track: Count
    score: float
    state: Literal["undecided", "known", "unknown"] = "undecided"
    identity: int | None = None
    """Of an unknown person the number, if the face is good enough for one."""
    name: str | None = None
    similarity: float | None = None
    reason: Reason | None = None


class Marks(Message, frozen=True, kw_only=True, tag="marks"):
    """To whoever looks: an analysed frame's faces, and who they are as far as is known now."""

    item: Count
    time: float
    """When its frame arrived; a `Preview` of the same frame has the same."""
    width: Count
    height: Count
    """Of the source picture, in whose pixels boxes are."""
    marks: tuple[Mark, ...]


AnyMessage = (
    Item
    | Leave
    | Noticed
    | Frame
    | Detections
    | Tracked
    | Chips
    | Embedded
    | ItemEnd
    | ItemDone
    | Sighting
    | SourceState
    | WorkerState
)
Result = ItemDone | Sighting | SourceState | WorkerState
