"""Video files, made by PyAV: numbers, positions, rotation, damage."""

import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media import Walk, frames, portrait, write_video

from vultus.configs.schema import Config, Decode
from vultus.pipeline.errors import RefusedInput
from vultus.pipeline.messages import Frame, Item, ItemEnd
from vultus.stages import video
from vultus.stages.decode import Decode as DecodeStage

EVERY = Decode(video_step=1)


def never() -> None:
    pytest.fail("a packet counted as broken")


@pytest.fixture(scope="module")
def pictures(samples: tuple[Path, object]) -> list[np.ndarray]:
    walks = [Walk(portrait(samples[0] / "person_a_2.jpg", 240), (20, 40), (400, 80))]
    return list(frames(walks, 50))


@pytest.fixture(scope="module")
def clip(pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", iter(pictures))


def test_every_frame_in_order(clip: Path, pictures: list[np.ndarray]) -> None:
    moments = list(video.read(str(clip), EVERY, never))
    assert [moment.number for moment in moments] == list(range(50))
    assert [moment.position for moment in moments] == pytest.approx([number / 25 for number in range(50)], abs=1e-3)
    for moment, picture in zip(moments, pictures, strict=True):
        assert np.abs(moment.image.array.astype(int) - picture).mean() < 4, moment.number


def test_step_leaves_out_and_keeps_numbers(clip: Path) -> None:
    moments = list(video.read(str(clip), Decode(video_step=7), never))
    assert [moment.number for moment in moments] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert moments[3].position == pytest.approx(21 / 25, abs=1e-3)


def test_positions_start_at_zero(pictures: list[np.ndarray], tmp_path: Path) -> None:
    # MPEG-TS starts its clock at 1.4 s or anywhere else.
    path = tmp_path / "clip.ts"
    write_video(path, iter(pictures[:10]))
    moments = list(video.read(str(path), EVERY, never))
    assert len(moments) == 10
    assert moments[0].position == pytest.approx(0, abs=1e-3)
    assert moments[9].position == pytest.approx(9 / 25, abs=1e-2)


def turned(clip: Path, target: Path, quarter: int) -> Path:
    """The clip with a display matrix (ISO 14496-12, 8.3.2) that turns it clockwise by so many quarters when shown."""
    one = 1 << 16
    matrix = {
        0: (one, 0, 0, 0, one, 0),
        1: (0, one, 0, -one, 0, 0),
        2: (-one, 0, 0, 0, -one, 0),
        3: (0, -one, 0, one, 0, 0),
    }[quarter]
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times and ids, reserved to volume
    assert data[at : at + 4] == struct.pack(">i", one)
    data[at : at + 24] = struct.pack(">6i", *matrix)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("quarter", range(4))
def test_rotation_is_honoured(quarter: int, clip: Path, pictures: list[np.ndarray], tmp_path: Path) -> None:
    moment = next(video.read(str(turned(clip, tmp_path / "t.mp4", quarter)), EVERY, never))
    wanted = np.rot90(pictures[0], -quarter)
    assert moment.image.array.shape == wanted.shape
    assert np.abs(moment.image.array.astype(int) - wanted).mean() < 4


def test_damage_is_counted_and_skipped(clip: Path, tmp_path: Path, rand: np.random.Generator) -> None:
    data = np.frombuffer(clip.read_bytes(), np.uint8).copy()
    start = data.tobytes().index(b"mdat") + 3000
    end = start + 6_000
    data[start:end] = rand.integers(0, 256, end - start)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data.tobytes())
    broken: Counter[str] = Counter()
    moments = list(video.read(str(path), EVERY, lambda: broken.update(["broken"])))
    assert len(moments) >= 20
    assert broken["broken"]
    assert [moment.number for moment in moments] == list(range(len(moments)))


def test_cut_file_gives_what_is_there(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.ts"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    moments = list(video.read(str(path), EVERY, lambda: None))
    assert 5 < len(moments) < 45


REFUSED = {
    "empty": (b"", "no video that can be read"),
    "text": (b"this is no film\n" * 500, "no video that can be read"),
    "random": (np.random.default_rng(1).bytes(40_000), "no video that can be read|not one frame|holds no video"),
    "playlist": (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n", "no video|not one frame"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind: str, tmp_path: Path) -> None:
    data, words = REFUSED[kind]
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=words) as caught:
        list(video.read(str(path), EVERY, lambda: None))
    assert str(tmp_path) not in str(caught.value), "whoever shows the reason names the file"


def test_refusals_that_need_a_real_file(clip: Path, tmp_path: Path) -> None:
    headless = tmp_path / "headless.mp4"
    whole = clip.read_bytes()
    headless.write_bytes(whole[: whole.index(b"moov") - 4])  # the index stands at the end; a cut file lacks it
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        tone.sample_rate = 8000
        container.mux(stream.encode(tone))
    for path, words in (
        (headless, "no video that can be read"),
        (sound, "holds no video"),
        (tmp_path, "not a regular"),
    ):
        with pytest.raises(RefusedInput, match=words):
            list(video.read(str(path), EVERY, never))
    with pytest.raises(RefusedInput, match=r"640×360 pixels are more than decode\.max_frame_pixels \(10000\)"):
        list(video.read(str(clip), Decode(max_frame_pixels=10_000), never))


def test_the_stage_says_what_became_of_each(clip: Path, tmp_path: Path, surroundings: "object") -> None:
    (tmp_path / "text.mp4").write_bytes(b"nothing" * 100)
    (tmp_path / "p.jpg").write_bytes(cv2.imencode(".jpg", np.full((80, 60, 3), 90, np.uint8))[1].tobytes())
    stage = DecodeStage(Config())
    stage.open(surroundings.context)
    named = [
        ("video", clip),
        ("video", tmp_path / "text.mp4"),
        ("photo", tmp_path / "p.jpg"),
        ("photo", tmp_path / "no.jpg"),
    ]
    items = [
        Item(item=number, attempt=2, kind=kind, source=path.name, address=str(path), label="Anna")
        for number, (kind, path) in enumerate(named)
    ]
    messages = list(stage.process(items))
    ends = [message for message in messages if isinstance(message, ItemEnd)]
    assert [end.origin.item for end in ends] == [0, 1, 2, 3]
    assert [end.frames for end in ends] == [17, 0, 1, 0]
    assert [end.refused is None for end in ends] == [True, False, True, False]
    assert "No such file" in ends[3].refused
    for end, (_, path) in zip(ends[:3], named[:3], strict=True):
        assert (end.size, end.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert len(ends[2].digest) == 16
    shots = [message for message in messages if isinstance(message, Frame)]
    assert len(shots) == 18
    assert all(shot.origin.label == "Anna" and shot.origin.attempt == 2 and not shot.origin.live for shot in shots)
    assert [shot.origin.still for shot in shots] == [False] * 17 + [True]
    assert surroundings.counts["refused"] == 2


# In a process of its own, of which the kernel then knows how much memory it ever had.
LOOK = """
import sys
from vultus.pipeline.errors import RefusedInput
from vultus.configs.schema import Decode
from vultus.stages import video
def most():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) // 1024
before = most()
try:
    list(video.read(sys.argv[1], Decode(max_frame_pixels=1_000_000), lambda: None))
except RefusedInput as error:
    print(error)
print(most() - before)
"""


@pytest.mark.slow
def test_what_is_too_large_is_not_decoded_to_find_that_out(tmp_path: Path) -> None:
    path = tmp_path / "large.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 5120, 5120, "yuv420p"
        for shade in (10, 200):
            frame = av.VideoFrame(5120, 5120, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([shade]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = subprocess.run([sys.executable, "-c", LOOK, path], capture_output=True, text=True, check=True, timeout=60)
    said, grown = found.stdout.splitlines()
    assert said == "5120×5120 pixels are more than decode.max_frame_pixels (1000000) allows"
    assert int(grown) < 30, "MB; a single picture has 39"
