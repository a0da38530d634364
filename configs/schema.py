"""The whole of what can be configured, as types.

Every value has a default, so an empty file is a valid configuration; `default.yaml` beside this file is these
defaults again with their reasons, and a test keeps the two equal. Unknown keys are refused by the loader.
Lengths are pixels, times are seconds unless a name ends in `_ms`, similarities are cosines in [-1, 1].
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from vultus.configs.address import redact
from vultus.configs.errors import ConfigError
from vultus.configs.serving import Serve

Positive = Annotated[int, Meta(ge=1)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(gt=0.0, le=86_400.0)]
Days = Annotated[float, Meta(gt=0.0, le=36_500.0)]
Rate = Annotated[float, Meta(gt=0.0, le=1000.0)]
StageName = Literal["decode", "detect", "track", "align", "embed", "match", "store"]
STATELESS = ("detect", "embed")
"""Stages that keep nothing between messages and answer each with one, so that any machine may do any of them."""
HostName = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,62}$")]
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
PublicKey = Annotated[str, Meta(pattern=r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$")]
"""32 bytes in Z85, as `vultus keys show` prints them."""
LISTEN_PATTERN = r"^tcp://(\[[0-9a-fA-F:.]+\]|[0-9]{1,3}(\.[0-9]{1,3}){3}):[1-9][0-9]{0,4}$"


class Models(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which models of `weights/manifest.toml` do the work."""

    detector: str = "yunet_2023mar"
    embedder: str = "sface_2021dec"
    backend: Literal["auto", "engine", "onnx"] = "auto"
    """What computes them: the engine alone, ONNX Runtime (`vultus[onnx]`), or the latter for what the former lacks."""


class Decode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How photos are bounded and streams are watched."""

    max_pixels: Annotated[int, Meta(ge=10_000, le=178_956_970)] = 120_000_000
    """Of a photo: at most what Pillow itself lets pass (twice its `MAX_IMAGE_PIXELS`)."""
    max_frame_pixels: Annotated[int, Meta(ge=10_000, le=178_956_970)] = 36_000_000
    """Of a video or camera, whose decoder keeps up to 16 frames for reference and some for each thread."""
    max_file_bytes: Annotated[int, Meta(ge=1_000, le=4_000_000_000)] = 512_000_000
    video_step: Positive = 3
    """Of an archived video, every how many-th frame is analysed."""
    open_timeout: Seconds = 5.0
    stall_timeout: Seconds = 4.0
    """A stream that sends no packet for so long is closed and retried; PyAV takes up to twice the time to say so."""
    retry_first: Seconds = 1.0
    retry_max: Seconds = 30.0
    """Pauses between attempts double from the first to the longest, for ever."""
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    """Of sources that do not say otherwise."""
    motion: bool = True
    """Whether frames of a camera before which nothing happens are left out; false analyses every frame."""
    moving_fps: Rate = 5.0
    """Frames a second that are analysed of a camera before which something moves."""
    busy_fps: Rate = 12.5
    """The same while it shows faces."""
    still_every: Annotated[float, Meta(gt=0.0, le=20.0)] = 2.0
    """Seconds between two frames that are analysed while nothing moves."""
    idle_after: Seconds = 10.0
    """After so many seconds without movement only key frames are decoded."""
    hardware: Literal["none", "auto", "amf", "cuda", "d3d11va", "drm", "qsv", "vaapi", "vdpau", "vulkan"] = "none"
    """Which device decodes video; `auto` takes the first that works. Without one the processor does."""
    hardware_device: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Which one of its kind: `/dev/dri/renderD128`, or a number for cuda; none = the first."""
    cameras_per_process: Annotated[int, Meta(ge=1, le=64)] = 1
    """With 1 a decoder that crashes takes one camera down for a second; more share the memory of a process."""

    def __post_init__(self) -> None:
        if self.retry_max < self.retry_first:
            raise ConfigError("retry_max is below retry_first")


class Detect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Face detection."""

    max_side: Annotated[int, Meta(ge=64, le=8192)] = 640
    """Frames whose longer side exceeds this are shrunk to it for detection; they are never enlarged."""
    photo_max_side: Annotated[int, Meta(ge=64, le=8192)] = 1280
    input_size: Annotated[str, Meta(pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$")] | None = None
    """WIDTHxHEIGHT that everything is shown to the detector in, in place of both: shrunk to fit and filled up with black."""
    score: Unit | None = None
    """None: what the detector's makers suggest."""
    nms_iou: Unit | None = None
    """None: likewise."""
    landmarks: Literal["own", "onet"] = "onet"
    """By which faces are aligned: the detector's own, or those that MTCNN's O-Net finds in its boxes."""
    min_face: Positive = 20
    """Faces whose shorter box side is below this, in source pixels, are counted and left out."""
    threads: Annotated[int, Meta(ge=0, le=256)] = 1

    @property
    def size(self) -> tuple[int, int] | None:
        """`input_size` as width and height."""
        if self.input_size is None:
            return None
        width, _, height = self.input_size.partition("x")
        return int(width), int(height)

    def __post_init__(self) -> None:
        if self.size is not None and not all(64 <= side <= 8192 for side in self.size):
            raise ConfigError(f"input_size {self.input_size} has a side outside 64..8192")


class Track(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From boxes to tracks, and which views of a track are worth an embedding."""

    lost_after: Seconds = 1.0
    min_quality: Unit = 0.2
    """A face below this is not embedded in video; photos embed every face."""
    improve: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.15
    """A track is embedded again only when its quality rose by this share."""
    max_looks: Positive = 6
    """At most so many embeddings for one track."""


class Embed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The embedding engine."""

    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """0 = one for each processor this process may run on."""
    isa: Literal["auto", "scalar", "avx2", "neon"] = "auto"


class Match(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a face counts as a known person."""

    threshold: Annotated[float, Meta(ge=-1.0, le=1.0)] | None = None
    """Cosine at or above which a face is that person; none = the one the model's manifest entry suggests."""
    margin: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.03
    """Between the nearest person and the next; closer than that it is neither."""
    rejoin: Annotated[float, Meta(ge=0.0, le=86_400.0)] = 10.0
    """Seconds for which somebody may be away from a camera and still be there once."""
    shots: Annotated[int, Meta(ge=0, le=16)] = 3
    """Of each sighting, the clearest so many pictures are kept, for `retention.shots_days`."""
    report_unknown: bool = True
    """Whether people who match nobody are sightings as well (name null)."""
    unknown_people: bool = True
    """Whether faces of nobody become unknown people, who are known again: in archives, and, if `report_unknown`, before
    cameras, of which the clearest face of each stranger is then kept."""


class Store(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the archive job keeps."""

    views_per_track: Positive = 3
    """Of a person who crosses a video, the best so many views are kept."""
    enrol_quality: Unit = 0.15
    """A photo whose face is below this is not enrolled, and its reason told; 0 enrols all."""
    keep_chips: bool = True
    """Keep each aligned face as a small JPEG, so that pages can show it and a new model can re-embed it."""
    collection: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")] | None = None
    """What the faces that are stored belong to, for searches in a part of the gallery."""
    key_file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """File with the key of an encrypted gallery; the environment variable VULTUS_GALLERY_KEY goes before it."""


class Audit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recording of who searches and who changes what."""

    enabled: bool | None = None
    """None: off on the command line, on in a server."""
    keep_days: Days | None = 365.0
    """Older entries are forgotten; none = never."""
    strict: bool = False
    """Whether a search waits until its entry is on the disk."""


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days after which things are deleted, once an hour while cameras are watched, and by `vultus gallery prune`.

    None = never.
    """

    shots_days: Days | None = 30.0
    """Pictures of sightings."""
    sightings_days: Days | None = None
    strangers_days: Days | None = None
    """Faces of unknown people that were kept while watching; those of archives stay."""
    journal_days: Days | None = 365.0
    """Rows of the journal of changes, by which other processes follow the gallery."""


class Privacy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose faces are shown as coarse squares in every picture that vultus writes; those of hidden people always are."""

    veil: tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...] = ()
    """Names of people."""
    veil_strangers: bool = False
    """Whoever has no name."""


class Preview(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Live pictures of cameras, made only while somebody looks at them."""

    fps: Annotated[float, Meta(gt=0.0, le=60.0)] = 10.0
    """At most so many a second."""
    side: Annotated[int, Meta(ge=64, le=1920)] = 640
    """Their longer side is at most this."""
    snapshot_side: Annotated[int, Meta(ge=64, le=4096)] = 1920
    """The same of a single picture that is asked for."""
    quality: Annotated[int, Meta(ge=10, le=95)] = 75
    """Of the JPEG."""


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stages that share a process, and how many such processes run."""

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,31}$")]
    stages: Annotated[tuple[StageName, ...], Meta(min_length=1)]
    workers: Annotated[int, Meta(ge=1, le=64)] | Literal["per-source"] = 1
    """`per-source`: one process for each camera, and one more for files if there are any."""
    max_batch: Annotated[int, Meta(ge=1, le=1024)] = 8
    max_wait_ms: Annotated[float, Meta(ge=0.0, le=1000.0)] = 4.0
    """A batch that is not full starts after so long."""
    queue: Annotated[int, Meta(ge=1, le=4096)] = 16
    """Messages a process may hold for the next group; live frames beyond it push out the oldest of their camera,
    files wait."""
    hosts: tuple[HostName, ...] = ()
    """Names in `network.hosts`: these machines do the work, each with `workers` processes that `vultus worker` starts; none =
    this machine does."""
    listen: Annotated[str, Meta(pattern=LISTEN_PATTERN, max_length=300)] | None = None
    """`tcp://ADDRESS:PORT` of the main machine, where the hosts find it."""

    def __post_init__(self) -> None:
        if not self.hosts:
            if self.listen is not None:
                raise ConfigError(f"group {self.name!r} listens, but names no `hosts` that may connect")
            return
        if self.listen is None:
            raise ConfigError(f"group {self.name!r} has `hosts`, so it needs `listen`, e.g. tcp://192.0.2.1:7301")
        kept = [stage for stage in self.stages if stage not in STATELESS]
        if kept:
            raise ConfigError(
                f"group {self.name!r} has `hosts`, but {kept[0]} stays on the main machine; "
                f"{' and '.join(STATELESS)} may run elsewhere, each in a group of its own"
            )
        if len(self.stages) != 1 or self.workers == "per-source":
            raise ConfigError(f"group {self.name!r} has `hosts`, so it has one stage, and `workers` is a number")
        if len(set(self.hosts)) < len(self.hosts):
            raise ConfigError(f"group {self.name!r} names a host twice")


class Pipeline(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes of a job and how they are looked after."""

    watch: Annotated[tuple[Group, ...], Meta(min_length=1)] = (
        Group(name="decode", stages=("decode",), workers="per-source", queue=4),
        Group(name="faces", stages=("detect", "track", "align")),
        Group(name="people", stages=("embed", "match"), max_batch=32),
    )
    index: Annotated[tuple[Group, ...], Meta(min_length=1)] = (
        Group(name="faces", stages=("decode", "detect", "track", "align"), workers=2, queue=32),
        Group(name="people", stages=("embed", "store"), max_batch=32, max_wait_ms=10.0),
    )
    frame_slots: Annotated[int, Meta(ge=2, le=256)] = 12
    """Frames of shared memory each decoding process owns."""
    max_age: Seconds | None = 1.0
    """A camera's frame older than this is not analysed any more, but counted as `late`; none = however old."""
    heartbeat: Seconds = 0.5
    hang_after: Seconds = 60.0
    """A process that neither finishes a batch nor answers for so long is killed and started again."""
    restart_first: Seconds = 0.2
    restart_max: Seconds = 30.0
    spares: Annotated[int, Meta(ge=0, le=8)] = 1
    """Of a job with cameras: so many more processes, which have loaded all libraries and take the place of one that dies."""
    stop_within: Seconds = 1.5

    def __post_init__(self) -> None:
        _check_groups("watch", self.watch, "match")
        _check_groups("index", self.index, "store")
        if self.restart_max < self.restart_first:
            raise ConfigError("restart_max is below restart_first")


def _check_groups(job: str, groups: tuple[Group, ...], last: StageName) -> None:
    """Each stage takes what the one before it makes, so only the borders between processes are free."""
    chain = ("decode", "detect", "track", "align", "embed", last)
    given = tuple(stage for group in groups for stage in group.stages)
    if given != chain:
        raise ConfigError(f"the groups of {job} have the stages {', '.join(given)}; they have to be {', '.join(chain)}")
    names = [group.name for group in groups]
    if len(set(names)) < len(names):
        raise ConfigError(f"two groups of {job} have the same name, in {', '.join(names)}")
    places = [group.listen for group in groups if group.listen is not None]
    if len(set(places)) < len(places):
        raise ConfigError(f"two groups of {job} listen at {places[0]}; give each a port of its own")


class Host(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine that may do work for the main one."""

    name: HostName
    key: PublicKey
    """What `vultus keys show` prints there."""


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Machines that share the work of one job. Everything between them is encrypted (CURVE)."""

    main_key: PublicKey | None = None
    """What `vultus keys show` prints on the machine that runs `watch` and `index`."""
    hosts: tuple[Host, ...] = ()
    key_file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """This machine's own keys, as `vultus keys new` made them; none = `network.key` in the data folder."""
    retry_first: Seconds = 0.5
    retry_max: Seconds = 10.0
    """Pauses of a worker whose main machine is away double from the first to the longest, for ever."""

    def __post_init__(self) -> None:
        for what, values in (("name", [h.name for h in self.hosts]), ("key", [h.key for h in self.hosts])):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ConfigError(f"two of `network.hosts` have the {what} {twice[0]}")
        wrong = [
            key for key in (self.main_key, *(host.key for host in self.hosts)) if key is not None and not _is_key(key)
        ]
        if wrong:
            raise ConfigError(f"{wrong[0]} is no key; `vultus keys show` prints it")
        if self.retry_max < self.retry_first:
            raise ConfigError("retry_max is below retry_first")


def _is_key(text: str) -> bool:
    """Whether these are bytes in Z85 (ZeroMQ RFC 32): each five characters a number below 2³²."""
    for start in range(0, len(text), 5):
        number = 0
        for character in text[start : start + 5]:
            number = 85 * number + _Z85.index(character)
        if number >= 1 << 32:
            return False
    return True


Polygon = Annotated[tuple[tuple[Unit, Unit], ...], Meta(min_length=3, max_length=64)]
"""Corners `(x, y)`, in shares of the picture's width and height from its upper left corner."""
Polygons = Annotated[tuple[Polygon, ...], Meta(max_length=32)]


class View(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one source is read."""

    transport: Literal["tcp", "udp"] | None = None
    """Of RTSP; none = `decode.rtsp_transport`."""
    paced: bool = False
    """A video file is played at its own speed, as if it were a camera, and ends."""
    zones: Polygons = ()
    """Never analysed: painted black before any stage sees the picture."""
    masks: Polygons = ()
    """Movement in these wakes nobody (a tree, a road); faces in them are found all the same."""


class Source(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera, file or folder."""

    address: Annotated[str, Meta(min_length=1, max_length=4096)]
    """RTSP/HTTP URL, path, or `webcam:0`. `${NAME}` in it is replaced from the environment, for passwords."""
    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """How it is called in every output; none = the address without user and password."""

    @property
    def label(self) -> str:
        """How it is called in every output."""
        return redact(self.address) if self.name is None else self.name

    @property
    def view(self) -> View:
        """How it is read, without where it is."""
        return View(**{field: getattr(self, field) for field in View.__struct_fields__})

    def __repr__(self) -> str:
        # Tracebacks and logs show this; the address may hold a password.
        return f"Source(address={redact(self.address)!r}, name={self.name!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("address", redact(self.address)), ("name", self.name)]


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole configuration."""

    gallery: str | None = None
    """Folder of the gallery, or `postgresql://USER@HOST/DATABASE`; none = `gallery` in the user's data folder."""
    models: Models = Models()
    decode: Decode = Decode()
    detect: Detect = Detect()
    track: Track = Track()
    embed: Embed = Embed()
    match: Match = Match()
    store: Store = Store()
    audit: Audit = Audit()
    retention: Retention = Retention()
    privacy: Privacy = Privacy()
    preview: Preview = Preview()
    sources: tuple[Source, ...] = ()
    network: Network = Network()
    pipeline: Pipeline = Pipeline()
    serve: Serve = Serve()

    def __post_init__(self) -> None:
        for group in (*self.pipeline.watch, *self.pipeline.index):
            self._check_hosts(group)
        labels = [source.label for source in self.sources]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ConfigError(f"two sources are called {twice[0]!r}; give each a `name` of its own")

    def _check_hosts(self, group: Group) -> None:
        """Nobody listens to a network without knowing whom to let in."""
        if not group.hosts:
            return
        unknown = [name for name in group.hosts if all(host.name != name for host in self.network.hosts)]
        if unknown:
            raise ConfigError(
                f"group {group.name!r} names the host {unknown[0]}, which has no key: list it in `network.hosts` "
                "with what `vultus keys show` prints there"
            )
        if self.network.main_key is None:
            raise ConfigError(
                f"group {group.name!r} listens at {group.listen}, and nothing listens to a network without keys: give "
                "`network.main_key`, which `vultus keys new` makes on this machine"
            )
