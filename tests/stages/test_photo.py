"""Photographs as they come: every kind either works or is refused in words, and never raises anything else."""

import io
import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from PIL import Image as Pillow

from vultus.configs.schema import Decode
from vultus.pipeline.errors import RefusedInput
from vultus.stages import photo
from vultus.stages.yunet import YuNet

LIMITS = Decode()


@pytest.fixture(scope="module")
def portrait(portraits: dict[str, np.ndarray]) -> np.ndarray:
    return cv2.resize(portraits["person_b_2"], (344, 450), interpolation=cv2.INTER_AREA)


def saved(picture: np.ndarray, form: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(picture[:, :, ::-1])).convert(mode).save(out, form, **options)
    return out.getvalue()


def encoded(ending: str, picture: np.ndarray) -> bytes:
    return cv2.imencode(ending, picture)[1].tobytes()


def deep(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.uint16) * 257


def animated(picture: np.ndarray, form: str) -> bytes:
    out = io.BytesIO()
    pages = [Pillow.fromarray(np.ascontiguousarray(page[:, :, ::-1])) for page in (picture, picture // 3, picture // 9)]
    pages[0].save(out, form, save_all=True, append_images=pages[1:], duration=50)
    return out.getvalue()


def with_alpha(picture: np.ndarray) -> bytes:
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:, :20] = 0
    return encoded(".png", np.dstack([picture, alpha]))


KINDS = {
    "JPEG": (lambda p: saved(p, "JPEG", quality=92), 4),
    "progressive JPEG": (lambda p: saved(p, "JPEG", quality=92, progressive=True), 4),
    "CMYK JPEG": (lambda p: saved(p, "JPEG", "CMYK", quality=92), 12),
    "grey JPEG": (lambda p: saved(p, "JPEG", "L", quality=92), None),
    "PNG": (lambda p: saved(p, "PNG"), 0),
    "grey PNG": (lambda p: saved(p, "PNG", "L"), None),
    "one-bit PNG": (lambda p: saved(p, "PNG", "1"), None),
    "16-bit grey PNG": (lambda p: encoded(".png", deep(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY))), None),
    "16-bit RGB PNG": (lambda p: encoded(".png", deep(p)), 1),
    "16-bit grey TIFF": (lambda p: encoded(".tiff", deep(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY))), None),
    "16-bit RGB TIFF": (lambda p: encoded(".tiff", deep(p)), 1),
    "float TIFF": (lambda p: encoded(".tiff", cv2.cvtColor(p, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255), None),
    "CMYK TIFF": (lambda p: saved(p, "TIFF", "CMYK"), 2),
    "TIFF": (lambda p: saved(p, "TIFF"), 0),
    "BMP": (lambda p: saved(p, "BMP"), 0),
    "WebP": (lambda p: saved(p, "WEBP", quality=92), 6),
    "palette PNG": (lambda p: saved(p, "PNG", "P"), 24),
    "GIF": (lambda p: saved(p, "GIF"), 24),
    "animated GIF": (lambda p: animated(p, "GIF"), 24),
    "animated WebP": (lambda p: animated(p, "WEBP"), 8),
    "animated PNG": (lambda p: animated(p, "PNG"), 0),
    "pages of a TIFF": (lambda p: animated(p, "TIFF"), 0),
    "PNG with alpha": (with_alpha, None),
    "HEIC": (lambda p: saved(p, "HEIF", quality=90), 6),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_works(kind: str, portrait: np.ndarray, yunet: YuNet) -> None:
    if kind == "HEIC" and not photo.HEIC:
        pytest.skip("needs pillow-heif: pip install 'vultus[heic]'")
    make, tolerance = KINDS[kind]
    pixels = photo.decode(make(portrait), LIMITS)
    assert (pixels.shape, pixels.dtype) == (portrait.shape, np.uint8)
    assert pixels.flags.c_contiguous
    wanted = portrait
    if tolerance is None and "alpha" not in kind:
        wanted = cv2.cvtColor(cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        tolerance = 90 if kind == "one-bit PNG" else 4
    if kind == "PNG with alpha":
        assert (pixels[:, :20] == 255).all(), "transparent parts are white"
        pixels, wanted, tolerance = pixels[:, 20:], portrait[:, 20:], 0
    # The mean tells a wrong channel order, a clipped depth or the wrong page, and lets lossy formats be lossy.
    assert np.abs(pixels.astype(int) - wanted).mean() <= tolerance
    if kind != "one-bit PNG":
        assert len(yunet.detect(np.ascontiguousarray(pixels))) == 1


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header says so; its few bytes of data would unpack to zeros for a long time."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 2_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff_of(width: int, height: int) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + directory + b"\0\0\0\0"


def bmp_of(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


REFUSED = {
    "empty": (lambda p: b"", "no picture format|not a picture"),
    "zeros": (lambda p: b"\0" * 5000, "no picture format"),
    "text": (lambda p: b"Dear diary,\r\ntoday nobody took a picture. " * 40, "not a picture but text"),
    "HTML": (lambda p: b"<!doctype html><title>404</title>", "not a picture but text"),
    "cut JPEG": (lambda p: saved(p, "JPEG")[:-4000], "truncated"),
    "JPEG cut in the header": (lambda p: saved(p, "JPEG")[:100], "damaged"),
    "cut PNG": (lambda p: saved(p, "PNG")[:-9000], "truncated"),
    "cut WebP": (lambda p: saved(p, "WEBP")[:-3000], "damaged|truncated"),
    "cut TIFF": (lambda p: saved(p, "TIFF")[:-9000], "damaged|truncated|no picture"),
    "cut GIF": (lambda p: saved(p, "GIF")[:-9000], "damaged|truncated"),
    "PNG of 100,000 × 100,000": (lambda p: png_of(100_000, 100_000), "pixels"),
    "PNG just above the bound": (lambda p: png_of(12_000, 10_001), "12000×10001 pixels"),
    "TIFF of 65,000 × 65,000": (lambda p: tiff_of(65_000, 65_000), "pixels"),
    "BMP of 60,000 × 60,000": (lambda p: bmp_of(60_000, 60_000), "pixels"),
    "ZIP": (lambda p: b"PK\3\4" + os.urandom(500), "no picture format"),
    "EPS, which Pillow would hand to a program": (
        lambda p: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "text",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind: str, portrait: np.ndarray) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(RefusedInput, match=words):
        photo.decode(make(portrait), LIMITS)


def test_a_bomb_costs_no_memory(portrait: np.ndarray) -> None:
    before = peak_memory()
    for bomb in (png_of(12_000, 10_001), tiff_of(65_000, 65_000), bmp_of(60_000, 60_000)):
        with pytest.raises(RefusedInput):
            photo.decode(bomb, LIMITS)
    assert peak_memory() - before < 50_000_000


@pytest.mark.parametrize(("mode", "bytes_a_pixel"), [("I;16", 14), ("RGBA", 18)])
def test_memory_for_rare_kinds_of_pixels_is_bounded(mode: str, bytes_a_pixel: int) -> None:
    side = 4000
    picture = Pillow.new(mode, (side, side), 7 if mode == "I;16" else (9, 8, 7, 100))
    file = io.BytesIO()
    picture.save(file, "TIFF")
    del picture
    code = f"import sys; from vultus.stages import photo; {PEAK}; d = sys.stdin.buffer.read(); a = peak()\n"
    code += "p = photo.decode(d, photo.Decode()); print(peak() - a)"
    done = subprocess.run([sys.executable, "-c", code], input=file.getvalue(), capture_output=True, check=True)
    assert int(done.stdout) < bytes_a_pixel * side * side + 60_000_000


PEAK = "import resource; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024"


def peak_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_damage_anywhere_is_refused_or_read(portrait: np.ndarray, rand: np.random.Generator) -> None:
    small = portrait[::4, ::4]
    reasons = set()
    for form, mode in (
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("TIFF", "RGB"),
        ("WEBP", "RGB"),
        ("GIF", "P"),
        ("BMP", "RGB"),
    ):
        whole = np.frombuffer(saved(small, form, mode), np.uint8)
        for _ in range(60):
            data = whole.copy()
            places = rand.integers(0, len(data) if rand.random() < 0.5 else min(200, len(data)), rand.integers(1, 8))
            data[places] = rand.integers(0, 256, len(places))
            cut = data[: rand.integers(0, len(data))] if rand.random() < 0.3 else data
            try:
                pixels = photo.decode(cut.tobytes(), LIMITS)
            except RefusedInput as error:
                reasons.add(str(error))
            else:
                assert pixels.dtype == np.uint8
                assert pixels.ndim == 3
    assert reasons
    assert not [reason for reason in reasons if "0x" in reason], "reasons are for people"


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured(orientation: int, form: str, portrait: np.ndarray) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    # What a camera held that way writes: applying the orientation to it brings the portrait back.
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }[orientation](portrait)
    data = saved(np.ascontiguousarray(stored), form, exif=exif, **({"quality": 95} if form == "JPEG" else {}))
    pixels = photo.decode(data, LIMITS)
    assert pixels.shape == portrait.shape
    assert np.abs(pixels.astype(int) - portrait).mean() < 7


def test_damaged_exif_says_nothing_about_the_pixels(portrait: np.ndarray) -> None:
    data = saved(
        portrait,
        "JPEG",
        exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff\xff\xff\xff\xff" * 3,
    )
    assert photo.decode(data, LIMITS).shape == portrait.shape


def test_fast_path_and_pillow_agree(portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({}, {"subsampling": 0}, {"progressive": True}, {"quality": 30}):
        for mode in ("RGB", "L"):
            data = saved(portrait, "JPEG", mode, **options)
            fast = photo.decode(data, LIMITS)
            with monkeypatch.context() as patch:
                patch.setattr(photo, "_fast_jpeg", lambda data, picture: None)
                slow = photo.decode(data, LIMITS)
            assert np.abs(fast.astype(int) - slow).max() <= 1


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def test_file_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"")
    with pytest.raises(RefusedInput, match="empty"):
        photo.read(str(path), LIMITS)
    path.write_bytes(b"x" * 2000)
    with pytest.raises(RefusedInput, match="max_file_bytes"):
        photo.read(str(path), Decode(max_file_bytes=1999))
    assert photo.read(str(path), Decode(max_file_bytes=2000)).data == b"x" * 2000
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + 200_000_000, before[1]))
    try:
        assert photo.read(str(path), Decode(max_file_bytes=512_000_000)).data == b"x" * 2000, (
            "takes what the file takes"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    with pytest.raises(RefusedInput, match="still being written"):
        photo.read("/proc/self/status", LIMITS)
    with pytest.raises(RefusedInput, match="No such file"):
        photo.read(str(tmp_path / "gone.jpg"), LIMITS)
    with pytest.raises(RefusedInput, match="Is a directory"):
        photo.read(str(tmp_path), LIMITS)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(RefusedInput, match="not a regular file"):
        photo.read(str(tmp_path / "pipe.jpg"), LIMITS)


def test_heic_without_its_library_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo, "HEIC", False)
    monkeypatch.setattr(photo, "FORMATS", tuple(form for form in photo.FORMATS if form != "HEIF"))
    with pytest.raises(RefusedInput, match=r"pip install 'vultus\[heic\]'"):
        photo.decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100, LIMITS)


@pytest.mark.skipif(not photo.HEIC, reason="needs pillow-heif: pip install 'vultus[heic]'")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_turned_once(orientation: int, portrait: np.ndarray) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    turned = np.rot90(portrait, {1: 0, 3: 2, 6: 1, 8: -1}[orientation])
    page = Pillow.fromarray(np.ascontiguousarray(turned[:, :, ::-1]))
    page.info["exif"] = exif.tobytes()  # so that, as on a phone, both the container's `irot` and EXIF say it
    out = io.BytesIO()
    page.save(out, "HEIF", quality=90)
    assert orientation == 1 or b"irot" in out.getvalue()
    pixels = photo.decode(out.getvalue(), LIMITS)
    assert pixels.shape == portrait.shape
    assert np.abs(pixels.astype(int) - portrait).mean() < 7


def test_the_largest_bound_is_the_largest_that_pillow_has() -> None:
    most = 2 * Pillow.MAX_IMAGE_PIXELS
    assert msgspec.convert({"max_pixels": most}, Decode).max_pixels == most
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"max_pixels": most + 1}, Decode)
