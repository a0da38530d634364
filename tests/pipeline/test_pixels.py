"""Pictures in planes: what stages see of them equals what a conversion of the whole would have shown."""

import cv2
import msgspec
import numpy as np
import pytest

from vultus.pipeline.codec import Codec
from vultus.pipeline.errors import CodecError
from vultus.pipeline.frames import FrameReader, FrameRing, Image
from vultus.pipeline.messages import Frame, Origin
from vultus.pipeline.pixels import Layout, to_bgr

ORIGIN = Origin(item=1, attempt=0, source="x", seq=0, live=True, time=1.0)


def planar(rand, width, height, *, padding=0, full=False, matrix="bt601"):
    """A smooth picture in planes, and its layout."""
    half = (-(-width // 2), -(-height // 2))
    sizes = ((width, height), half, half)
    strides = tuple(size[0] + padding for size in sizes)
    layout = Layout(format="yuv420p", width=width, height=height, strides=strides, full_range=full, matrix=matrix)
    chunks = []
    for (w, h), stride in zip(sizes, strides, strict=True):
        coarse = rand.integers(60, 200, (6, 8), np.uint8)
        plane = np.full((h, stride), 255, np.uint8)
        plane[:, :w] = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
        chunks.append(plane.reshape(-1))
    return Image.planar(layout, chunks)


def i420(image):
    """As one array that OpenCV converts."""
    rows = [
        chunk.reshape(height, stride)[:, :width].reshape(-1)
        for chunk, stride, (height, width) in zip(image.chunks, image.layout.strides, image.layout.planes, strict=True)
    ]
    return np.concatenate(rows).reshape(-1, image.width)


@pytest.mark.parametrize("padding", [0, 32])
def test_the_whole_equals_opencv(rand, padding):
    image = planar(rand, 640, 480, padding=padding)
    theirs = cv2.cvtColor(i420(image), cv2.COLOR_YUV2BGR_I420).astype(int)
    assert np.abs(image.array.astype(int) - theirs).mean() < 1.5  # it repeats colours, we interpolate them
    assert np.abs(image.array.astype(int) - theirs).max() < 30


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full", [True, False])
def test_primaries_come_back(matrix, full):
    """Red, green, blue, white and grey, made into YUV by the textbook's formula."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}[matrix]
    for r, g, b in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (90, 90, 90)):
        y = red * r + (1 - red - blue) * g + blue * b
        u, v = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
        if not full:
            y, u, v = 16 + y * 219 / 255, u * 224 / 255, v * 224 / 255
        planes = [np.full((2, 2), np.clip(round(value), 0, 255), np.uint8) for value in (y, 128 + u, 128 + v)]
        layout = Layout(format="yuv420p", width=2, height=2, strides=(2, 1, 1), full_range=full, matrix=matrix)
        assert np.abs(to_bgr(*planes, layout)[0, 0].astype(int) - (b, g, r)).max() <= 3


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (1, 1), (2, 3)])
def test_a_patch_is_a_part_of_the_whole(rand, size):
    image = planar(rand, *size, padding=3)
    whole = image.array
    for _ in range(20):
        left, right = sorted(rand.integers(0, size[0] + 1, 2))
        top, bottom = sorted(rand.integers(0, size[1] + 1, 2))
        if left == right or top == bottom:
            continue
        part, x, y = image.patch(left, top, right, bottom)
        assert x <= left
        assert y <= top
        got = part[top - y : bottom - y, left - x : right - x].astype(int)
        assert got.shape == (bottom - top, right - left, 3)
        assert np.abs(got - whole[top:bottom, left:right]).max() <= 2
    with pytest.raises(ValueError, match="outside"):
        image.patch(size[0] + 40, 0, size[0] + 50, 1)


@pytest.mark.parametrize("small", [(640, 360), (320, 180), (101, 57)])
def test_scaled_equals_converting_first(rand, small):
    image = planar(rand, 1920, 1080)
    theirs = cv2.resize(image.array, small, interpolation=cv2.INTER_AREA)
    ours = image.scaled(*small)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 1


def test_planes_travel_through_shared_memory_and_through_parts(rand):
    image = planar(rand, 65, 47, padding=7, matrix="bt709")
    ring, reader, codec = FrameRing(2), FrameReader(), Codec()
    lease = ring.lend(image, "p")
    frame = Frame(origin=ORIGIN, image=image)
    shared = codec.decode(codec.encode(frame, lease), lambda given: reader.image("p", given))
    parts = codec.decode(codec.encode(frame))
    for came in (shared, parts):
        assert came.image.layout == image.layout
        assert np.array_equal(came.image.array, image.array)
        assert not came.image.chunks[0].flags.writeable


def test_a_panorama_travels():
    codec = Codec()
    wide = Frame(origin=ORIGIN, image=Image(np.zeros((2, 60_000, 3), np.uint8)))
    ring, reader = FrameRing(1), FrameReader()
    for parts in (codec.encode(wide), codec.encode(wide, ring.lend(wide.image, "p"))):
        assert codec.decode(parts, lambda given: reader.image("p", given)).image.array.shape == (2, 60_000, 3)


def test_layouts_that_lie_are_refused(rand):
    image = planar(rand, 8, 8)
    with pytest.raises(ValueError, match="do not fit into strides"):
        msgspec.structs.replace(image.layout, strides=(7, 4, 4))
    with pytest.raises(ValueError, match="strides"):
        msgspec.structs.replace(image.layout, strides=(8,))
    with pytest.raises(ValueError, match="planes of"):
        Image.planar(image.layout, image.chunks[:2])
    codec = Codec()
    body, part = codec.encode(Frame(origin=ORIGIN, image=image))
    for wrong in (part[:-1], bytes(part) + b"x", b""):
        with pytest.raises(CodecError):
            codec.decode([body, wrong])
    lying = bytes(body).replace(b"\xa5width\x08", b"\xa5width\x09")
    with pytest.raises(CodecError):
        codec.decode([lying, part])
