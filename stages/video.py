"""Video files and network streams through FFmpeg; the only file that imports `av`."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.reformatter import ColorRange
from msgspec import Struct, structs

from vultus.configs.address import redact_text
from vultus.configs.schema import Decode
from vultus.configs.serving import Networks
from vultus.pipeline.errors import RefusedInput
from vultus.pipeline.frames import Image
from vultus.pipeline.pixels import Layout, views
from vultus.stages import allocation, confined, hardware, knocking
from vultus.stages.grabber import Ear, Shot, SourceEnded, SourceLost
from vultus.stages.reach import connections, host
from vultus.stages.waking import Attention, Decoded, choose

Pixels = npt.NDArray[np.uint8]

_MOST_BREAKS = 100
"""So many damaged places in a row, without a packet between them, end a file."""
_PROBE_BYTES, _PROBE_MICROSECONDS = "500000", "200000"
"""How much of a stream is looked at before it counts as open: 0.3 s with an RTSP camera, 1.2 s with FFmpeg's defaults."""
_BESIDE_PIXELS = 16 << 20
"""Bytes that FFmpeg may take at once beyond four for each pixel of the largest frame: what a server says of itself, packets."""
_PATIENCE = 1.0
"""Seconds that FFmpeg waits beyond the watchdog: at its own time-out it hands out half a frame as if one had come just now."""
_ASKED = "h264"
"""What a device has to decode to be taken; of another codec FFmpeg decides when the stream is there."""
_MATRICES: dict[int, Literal["bt601", "bt709", "bt2020"]] = {
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    7: "bt601",
    9: "bt2020",
    10: "bt2020",
}
"""By the numbers of ITU-T H.273, table 4, which FFmpeg uses; 4 and 7 are near enough to BT.601."""
# `av.frame.rotation` counts anticlockwise.
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class Moment(Struct, frozen=True, kw_only=True):
    """A frame of a video file."""

    number: int
    """Counting every decoded frame, from 0."""
    position: float
    """Seconds from the start of the video."""
    image: Image
    """Upright."""


def read(
    path: str, limits: Decode, broken: Callable[[], None], decodes: Callable[[str], None] | None = None
) -> Iterator[Moment]:
    """Every `video_step`-th frame of a file, the first one included.

    `broken` is called for each damaged packet, `decodes` once with who decodes, in words.

    Raises RefusedInput in words if the file holds no video, or gives not a single frame.
    """
    _check_file(path)
    device = _device(limits)
    try:
        # `file` only: a playlist that calls itself .mp4 must not make us open network addresses.
        container = av.open(
            path,
            metadata_errors="replace",
            options={"max_pixels": str(limits.max_frame_pixels)},  # of the decoders with which FFmpeg looks into it
            container_options={"protocol_whitelist": "file"},
            hwaccel=_accelerator(device.kind, limits),
        )
    except av.error.FFmpegError as error:
        raise RefusedInput(f"no video that can be read: {_said(error)}") from None
    with container:
        if not container.streams.video:
            raise RefusedInput("holds no video")
        stream = container.streams.video[0]
        _bound(stream, limits)
        if decodes is not None:
            decodes(_decoder(device, stream.codec_context))
        number = -1
        start = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
        for number, frame in enumerate(_file_frames(container, stream, broken)):
            if number % limits.video_step == 0:
                known = frame.time if frame.time is not None else start + number / float(stream.average_rate or 25)
                yield Moment(number=number, position=max(0.0, known - start), image=_image(frame, limits))
        if number < 0:
            raise RefusedInput("not one frame of it could be decoded")


def play(path: str, limits: Decode, ear: Ear) -> Iterator[tuple[float, Shot, bool]]:
    """Every frame of a video file, each when its time has come since the first.

    Raises SourceEnded, after the last frame or because there is none.
    """
    begun = time.monotonic()
    try:
        for moment in read(path, structs.replace(limits, video_step=1), ear.broken, ear.decodes):
            while (early := begun + moment.position - time.monotonic()) > 0:
                ear.alive(0)
                with ear.awaiting():
                    time.sleep(min(early, 0.5))
            ear.alive()
            yield time.time(), _as_it_is(moment.image), True
    except RefusedInput as error:
        raise SourceEnded(str(error), refused=True) from None
    raise SourceEnded("the file is at its end")


def listen(
    address: str,
    config: Decode,
    attention: Attention | None,
    ear: Ear,
    *,
    networks: Networks | None = None,
) -> Iterator[tuple[float, Shot, bool]]:
    """Frames of a network stream as they come, with the time of their arrival, until it breaks.

    `attention` chooses what is decoded and which frames are to be handed on (none: all). `ear` hears of each packet that
    arrives. Raises SourceLost, also when the stream merely ends; no text of it holds a password. May hang for longer than
    the time-outs say.
    `networks`: where the address may lead, of one that nobody trusts; none: anywhere.
    """
    allocation.bound(4 * config.max_frame_pixels + _BESIDE_PIXELS)
    target, options = confined.target(address, networks)
    options |= {"probesize": _PROBE_BYTES, "analyzeduration": _PROBE_MICROSECONDS}
    options["max_pixels"] = str(config.max_frame_pixels)
    patience = config.stall_timeout + _PATIENCE
    if address.lower().startswith("rtsp"):
        options |= {"rtsp_transport": config.rtsp_transport, "timeout": str(round(patience * 1e6))}
    device = _device(config)
    begun, before = time.monotonic(), set(connections()) if networks is not None else ()
    try:
        # FFmpeg's errors quote the address, so none of them may become the cause of ours.
        with ear.awaiting():
            container = av.open(
                target,
                options=options,
                timeout=(config.open_timeout, patience),
                metadata_errors="replace",
                hwaccel=_accelerator(device.kind, config),
            )
    except (av.error.FFmpegError, ValueError) as error:
        # Cut off while it still waits, FFmpeg says anything, for instance that the data are invalid.
        late = time.monotonic() - begun >= 0.9 * config.open_timeout
        raise _lost(error, address, f"no answer within {config.open_timeout:g} s", late=late) from None
    with container:
        if networks is not None:
            confined.judge(before, networks)
        if not container.streams.video:
            raise SourceLost("answers, but sends no video")
        stream = container.streams.video[0]
        _bound(stream, config)
        ear.decodes(_decoder(device, stream.codec_context))
        try:
            yield from _live_frames(_arriving(container.demux(), stream, ear), stream, config, attention, ear.broken)
        except av.error.FFmpegError as error:
            raise _lost(error, address, f"sent nothing usable for {config.stall_timeout:g} s") from None
        raise SourceLost("the other side ended the stream")


def _device(limits: Decode) -> hardware.Choice:
    def trouble_of(kind: str) -> str | None:
        try:
            HWAccel(kind, limits.hardware_device).create(Codec(_ASKED, "r"))
        except NotImplementedError:
            return f"not for {_ASKED}"
        except (av.error.FFmpegError, ValueError) as error:  # ValueError: of a device that is no number
            return _said(error)
        return None

    return hardware.choose(limits, hwdevices_available(), trouble_of)


def _accelerator(kind: str | None, limits: Decode) -> HWAccel | None:
    """What `av.open` takes. Streams that the device cannot decode are decoded by the processor."""
    return None if kind is None else HWAccel(kind, limits.hardware_device)


def _decoder(device: hardware.Choice, context: Any) -> str:
    return device.decoder(context.name, accelerated=context.is_hwaccel)


def _arriving(packets: Iterator[Any], stream: Any, ear: Ear) -> Iterator[Any]:
    """Packets of `stream` among those of all: PyAV, asked for these alone, would not return while only sound goes on."""
    while True:
        with ear.awaiting():
            packet = next(packets, None)
        if packet is None:
            return
        if packet.stream.index != stream.index:
            ear.aside()
            continue
        ear.alive()
        if packet.size:  # the last one, which only flushes the decoder, is empty
            yield packet


def _live_frames(
    packets: Iterable[Any], stream: Any, config: Decode, attention: Attention | None, broken: Callable[[], None]
) -> Iterator[tuple[float, Shot, bool]]:
    decoder = _LiveDecoder(stream.codec_context, broken, config)
    if attention is None:
        for packet in packets:
            now = time.time()
            for decoded in decoder.decode(packet):
                yield now, _shot(decoded.frame, config), True
        return
    for when, decoded, wanted in choose(packets, decoder, attention):
        yield when, _shot(decoded.frame, config), wanted


class _LiveDecoder:
    """Whole frames of a stream, with their brightness."""

    def __init__(self, context: Any, broken: Callable[[], None], limits: Decode) -> None:
        self._context, self._broken, self._limits = context, broken, limits
        self._looker: Any = None

    def decode(self, packet: Any) -> list[Decoded]:
        """See `waking.Decoder`."""
        return self._whole(_decoded(packet, self._broken))

    def only(self, packet: Any) -> list[Decoded]:
        """See `waking.Decoder`."""
        if self._looker is None:
            self._looker = _looker(self._context, self._limits)
        try:
            return self._whole([*self._looker.decode(packet), *self._looker.decode(None)])
        except av.error.FFmpegError:
            self._broken()
            return []
        finally:
            self._looker.flush_buffers()

    def _whole(self, frames: list[Any]) -> list[Decoded]:
        whole = []
        for frame in frames:
            if frame.is_corrupt:
                self._broken()
            else:
                whole.append(Decoded(frame, _luma(frame)))
        return whole


def _looker(context: Any, limits: Decode) -> Any:
    """A decoder for single key frames: without smoothing the edges of blocks it takes three quarters of the time."""
    looker: Any = av.CodecContext.create(context.name, "r")
    if context.extradata:
        looker.extradata = context.extradata
    looker.width, looker.height = context.width, context.height
    looker.thread_count = 1
    looker.options = {"skip_loop_filter": "all", "max_pixels": str(limits.max_frame_pixels)}
    return looker


def _luma(frame: Any) -> Pixels:
    """Brightness of a decoded frame, `(h, w)`, at any size."""
    first = frame.format.components[0]
    if not first.is_luma or first.bits != 8 or frame.format.name.startswith(("yuyv", "uyvy", "yvyu")):
        frame = frame.reformat(width=320, height=180, format="gray")
    plane = frame.planes[0]
    return np.asarray(np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width])


def write(path: str | os.PathLike[str], pictures: Iterable[Pixels], rate: int, key_every: float = 0.5) -> None:
    """An H.264 file of `pictures`, `(h, w, 3)` uint8 BGR, all of one size with even sides, `rate` of them a second.

    No B-frames and a key frame every `key_every` seconds and nowhere else, so that a server can send it as a camera would.
    """
    with av.open(os.fspath(path), "w") as container:
        stream: Any = None
        for picture in pictures:
            if stream is None:
                options = {
                    "bf": "0",
                    "g": str(max(1, round(rate * key_every))),
                    "sc_threshold": "0",
                    "preset": "veryfast",
                    "crf": "20",
                }
                stream = container.add_stream("libx264", rate=rate, options=options)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        if stream is None:
            raise ValueError("a video needs at least one picture")
        container.mux(stream.encode(None))


def broadcast(path: str | os.PathLike[str]) -> Iterator[tuple[float, bytes]]:
    """A file as a camera would send it, again and again for ever: MPEG-TS, a piece for each frame, and when it is due.

    Times are seconds from the start and rise; nothing is encoded anew.
    """
    sink, begin = _Pieces(), 0.0
    options = {"flush_packets": "1", "omit_video_pes_length": "0"}
    with av.open(sink, "w", format="mpegts", options=options) as target:
        stream: Any = None
        while True:
            with av.open(os.fspath(path)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                frame = 1 / float(video.average_rate or 25)
                due = begin
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    due = begin + float(packet.dts * packet.time_base)
                    shift = round(begin / packet.time_base)
                    packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, stream
                    target.mux(packet)
                    yield due, sink.taken()
            if due <= begin:
                raise ValueError(f"{path}: a video needs at least two frames")
            begin = due + frame


class _Pieces(io.RawIOBase):
    """What a muxer wrote, to be taken piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _check_file(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise RefusedInput(f"cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(mode):
        raise RefusedInput("not a regular file")


def _bound(stream: Any, limits: Decode) -> None:
    """Refuse pictures beyond `max_frame_pixels`, now and when the stream changes its size later."""
    context = stream.codec_context
    if context.width * context.height > limits.max_frame_pixels:
        size = f"{context.width}×{context.height}"
        raise RefusedInput(f"{size} pixels are more than decode.max_frame_pixels ({limits.max_frame_pixels}) allows")
    context.options = {"max_pixels": str(limits.max_frame_pixels)}


def _file_frames(container: Any, stream: Any, broken: Callable[[], None]) -> Iterator[Any]:
    breaks = 0
    while breaks < _MOST_BREAKS:
        try:
            for packet in container.demux(stream):
                breaks = 0
                yield from _decoded(packet, broken)
            return
        except av.error.FFmpegError:  # of demux, which goes on behind the damage when it is called again
            breaks += 1
            broken()


def _decoded(packet: Any, broken: Callable[[], None]) -> list[Any]:
    try:
        return list(packet.decode())
    except av.error.EOFError:
        return []
    except av.error.FFmpegError:
        broken()
        return []


def _as_it_is(image: Image) -> Shot:
    return lambda: image


def _shot(frame: Any, limits: Decode) -> Shot:
    return lambda: _image(frame, limits)


def _image(frame: Any, limits: Decode) -> Image:
    """A decoded frame, upright, in its own planes where they are 8 bits of 4:2:0; others are converted to that."""
    if frame.width * frame.height > limits.max_frame_pixels:
        raise RefusedInput(
            f"a frame of {frame.width}×{frame.height} pixels is more than decode.max_frame_pixels allows"
        )
    full, matrix = _colours(frame)
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        full = full or frame.format.name.startswith("yuvj")
        colours = ColorRange.JPEG if full else ColorRange.MPEG
        frame = frame.reformat(format="yuv420p", src_color_range=colours, dst_color_range=colours)
    chunks: list[Pixels] = [np.asarray(np.frombuffer(plane, np.uint8)) for plane in frame.planes]
    strides = tuple(plane.line_size for plane in frame.planes)
    layout = Layout(
        format="yuv420p", width=frame.width, height=frame.height, strides=strides, full_range=full, matrix=matrix
    )
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    return Image.planar(layout, chunks) if turn is None else _turned(layout, chunks, turn)


def _turned(layout: Layout, chunks: list[Pixels], turn: int) -> Image:
    planes = [np.ascontiguousarray(cv2.rotate(plane, turn), np.uint8) for plane in views(layout, chunks)]
    height, width = planes[0].shape
    layout = structs.replace(layout, width=width, height=height, strides=tuple(plane.shape[1] for plane in planes))
    return Image.planar(layout, [np.asarray(plane.reshape(-1), np.uint8) for plane in planes])


def _colours(frame: Any) -> tuple[bool, Literal["bt601", "bt709", "bt2020"]]:
    """Whether the range is full, and the matrix; what a stream does not say is guessed as players do, by its size."""
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    if frame.format.name.startswith(("rgb", "bgr", "gbr", "gray", "pal", "mono")):
        return True, "bt601"  # swscale's own, when it makes YUV of them
    said = _MATRICES.get(int(frame.colorspace))
    return full, said or ("bt709" if frame.height >= 720 else "bt601")


def _lost(error: Exception, address: str, silence: str, *, late: bool = False) -> SourceLost:
    """What went wrong with a stream, in words for the person who owns the camera; `silence` if a time-out ended it."""
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return SourceLost("user name or password is wrong, or the user may not see this stream", slow=True)
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceLost("the camera answers, but has no stream at this path", knock="stream")
    if isinstance(error, av.error.HTTPServerError):
        return SourceLost("the camera answers that it cannot send this stream now", knock="stream")
    if isinstance(error, av.error.ConnectionRefusedError):
        return SourceLost("nothing listens at this address and port (connection refused)", knock="door")
    if late or isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return SourceLost(silence, knock="door" if late else "no")
    if isinstance(error, av.error.InvalidDataError):
        return SourceLost("what answers there sends no stream that can be read", knock="stream")
    if isinstance(error, av.error.MemoryError):
        return SourceLost("sends more at once than any camera would", slow=True)
    name = host(address)
    if name is not None and not knocking.known(name):
        return SourceLost(f"the host name {name} is not known", knock="door")
    if isinstance(error, OSError) and error.errno in (errno.EIO, errno.ECONNRESET, errno.EPIPE):
        return SourceLost("the connection broke off")
    return SourceLost(_said(error))


def _said(error: Exception) -> str:
    """FFmpeg's own words without the address that it appends."""
    said = getattr(error, "strerror", None)
    return said if isinstance(said, str) and said else redact_text(str(error))
