"""`vultus index`: labels, refusals by name, and no face lost or doubled whatever is killed when."""

import json
import os
import signal
import struct
import subprocess
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import COMMAND, Run, contents, make_photos
from PIL import Image

from vultus.index import Gallery


def test_an_archive_with_a_folder_a_person(vultus: Run, gallery: Path) -> None:
    people = vultus("people", "list", "--gallery", gallery, "--json").json
    assert {one["name"]: one["faces"] for one in people} == {
        "Barack Obama": 1,
        "Emmanuel Macron": 1,
        "Jacinda Ardern": 1,
        "Rishi Sunak": 1,
    }
    stats = vultus("gallery", "stats", "--gallery", gallery, "--json").json
    assert stats["identities"] == 4
    assert stats["faces"] == 10
    assert vultus("gallery", "verify", "--gallery", gallery, "--json").json["ok"]


@pytest.mark.slow
def test_a_second_run_finds_everything_done(vultus: Run, archive: Path, tmp_path: Path) -> None:
    told = vultus("index", archive, "--label-from-folder", "--gallery", tmp_path / "g", "--json")
    first, again = told.json, vultus("index", archive, "--gallery", tmp_path / "g", "--json").json
    assert set(first) == {"files", "done", "already", "refused", "faces", "unlabelled", "unknown_people", "seconds"}
    assert (first["files"], first["done"], first["already"], first["refused"], first["faces"]) == (5, 5, 0, 0, 10)
    assert first["unlabelled"] == 1, "the group of six"
    assert told.err.count("without a name: ") == 1
    assert (again["files"], again["done"], again["already"], again["refused"], again["faces"]) == (5, 0, 5, 0, 0)


@pytest.mark.slow
def test_a_changed_photo_replaces_what_it_gave_before(vultus: Run, archive: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes((archive / "various" / "t1.jpg").read_bytes())
    vultus("index", photo, "--gallery", tmp_path / "g")
    photo.write_bytes((archive / "Barack Obama" / "impostor_1.jpg").read_bytes())
    assert vultus("index", photo, "--gallery", tmp_path / "g", "--json").json["done"] == 1
    assert len(contents(tmp_path / "g")) == 1


def test_refused_files_are_named_and_the_rest_is_done(vultus: Run, archive: Path, tmp_path: Path) -> None:
    good = archive / "Barack Obama" / "impostor_1.jpg"
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(good.read_bytes())
    (folder / "cut.jpg").write_bytes(good.read_bytes()[:20_000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("these are not the pixels you are looking for")
    (folder / "film.mp4").write_bytes(b"\0" * 5000)
    answer = vultus("index", folder, "--gallery", tmp_path / "g", "--json", code=1)
    assert (answer.json["files"], answer.json["done"], answer.json["refused"], answer.json["faces"]) == (5, 1, 4, 1)
    for name in ("cut.jpg", "empty.png", "text.jpg", "film.mp4"):
        assert any(name in line and "refused" in line for line in answer.err.splitlines()), answer.err
    again = vultus("index", folder, "--gallery", tmp_path / "g", "--json", code=1).json
    assert (again["done"], again["already"], again["refused"]) == (0, 1, 4)


@pytest.mark.slow
def test_nothing_to_do_is_said(vultus: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no photo or video" in vultus("index", tmp_path / "empty", "--gallery", tmp_path / "g", code=2).err
    assert "empty name" in vultus("index", "", "--gallery", tmp_path / "g", code=2).err
    assert "nowhere" in vultus("index", tmp_path / "nowhere", "--gallery", tmp_path / "g", code=2).err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_and_run_again_equals_an_undisturbed_run(
    vultus: Run, samples: tuple[Path, Any], tmp_path: Path, rand: np.random.Generator
) -> None:
    photos, kills = 520, 3
    make_photos(tmp_path / "photos", samples[0], photos, seed=photos)
    undisturbed = vultus("index", tmp_path / "photos", "--gallery", tmp_path / "a", "--json", timeout=300).json
    assert undisturbed["done"] == photos
    for _ in range(kills):
        killed_at(tmp_path / "b", tmp_path / "photos", int(rand.integers(1, max(2, photos // (kills + 1)))))
    last = vultus("index", tmp_path / "photos", "--gallery", tmp_path / "b", "--json", timeout=300).json
    assert last["already"] > 0
    assert last["done"] + last["already"] == photos
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert one.keys() == other.keys()
    assert len(one) >= photos
    for key, (name, vector) in one.items():
        assert other[key][0] == name
        np.testing.assert_allclose(other[key][1], vector, atol=1e-4)


@pytest.mark.slow
def test_ctrl_c_stops_in_order_and_the_same_command_goes_on(
    vultus: Run, samples: tuple[Path, Any], tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", samples[0], 200, seed=5)
    command = [*COMMAND, "index", str(tmp_path / "photos"), "--gallery", str(tmp_path / "g"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        while job.poll() is None and files_in(tmp_path / "g") < 10:
            pass
        start = time.monotonic()
        job.send_signal(signal.SIGINT)
        out, err = job.communicate(timeout=20)
    assert time.monotonic() - start < 2.5  # of which the interpreter's own end is a part
    assert job.returncode == 130
    assert "goes on" in err
    done = json.loads(out)["done"]
    assert 10 <= done < 200
    rest = vultus("index", tmp_path / "photos", "--gallery", tmp_path / "g", "--json").json
    assert rest["done"] + rest["already"] == 200
    assert rest["already"] >= done


def test_hostile_and_odd_files_work_or_are_refused_by_name(
    vultus: Run, samples: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    portrait = Image.open(samples[0] / "person_a_2.jpg").convert("RGB")
    portrait.thumbnail((480, 480))
    portrait.convert("CMYK").save(folder / "cmyk.jpg")
    portrait.convert("L").save(folder / "grey.png")
    Image.fromarray(np.asarray(portrait.convert("L")).astype(np.uint16) * 257).save(folder / "sixteen-bit.png")
    portrait.convert("P").save(folder / "animated.gif", save_all=True, append_images=[portrait.rotate(90).convert("P")])
    exif = Image.Exif()
    exif[0x0112] = 6
    portrait.transpose(Image.Transpose.ROTATE_90).save(folder / "rotated.jpg", exif=exif)
    for name in ("photo.webp", "photo.tiff", "photo.bmp"):
        portrait.save(folder / name)
    (folder / "truncated.jpg").write_bytes((folder / "cmyk.jpg").read_bytes()[:9000])
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("text")
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    bomb = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bomb)
    answer = vultus("index", folder, "--gallery", tmp_path / "g", "--json", code=1)
    assert (answer.json["done"], answer.json["refused"]) == (8, 4), answer.err
    for name in ("truncated.jpg", "zero.jpg", "text.jpg", "bomb.png"):
        assert f"{name}: " in answer.err
    stored = contents(tmp_path / "g")
    assert {Path(source).name for source, _ in stored} == {
        *("cmyk.jpg", "grey.png", "sixteen-bit.png", "animated.gif"),
        *("rotated.jpg", "photo.webp", "photo.tiff", "photo.bmp"),
    }
    vectors = [vector for _, vector in stored.values()]
    assert min(float(one @ other) for one in vectors for other in vectors) > 0.6  # one person, in colour or grey


def killed_at(gallery: Path, photos: Path, after: int) -> None:
    """Start an index job and kill -9 its whole group of processes once `after` more files are committed."""
    before = files_in(gallery)
    job = subprocess.Popen(
        [*COMMAND, "index", str(photos), "--gallery", str(gallery), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while job.poll() is None and files_in(gallery) < before + after:
            pass
    finally:
        os.kill(job.pid, signal.SIGKILL)
        job.wait()


def files_in(folder: Path) -> int:
    """Files that the gallery holds as done, seen by another process."""
    if not (folder / "gallery.sqlite3").exists():
        return 0
    with Gallery.open(folder, create=False) as gallery:
        return gallery.stats().files
