"""`vultus watch` on a real RTSP server that is killed and comes back, on video files, and how it ends."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from cli_process import Run
from media import Walk, frames, portrait, write_video
from ports import free_port
from rtsp import RtspServer, need_gstreamer
from watching import watching

KEYS = {"source", "time", "track", "identity", "name", "similarity", "box"}


@pytest.fixture(scope="module")
def film(samples: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds: Macron walks to the right in the first half, Ardern to the left in the second."""
    folder = samples[0]
    walks = [
        Walk(portrait(folder / "person_a_2.jpg", 300), (20, 40), (380, 40), 0, 90),
        Walk(portrait(folder / "person_b_2.jpg", 300), (400, 40), (60, 40), 110, 199),
    ]
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames(walks, 200))


def descendants(pid: int) -> set[int]:
    """Processes below a process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    below: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in below | {pid}} - below:
        below |= more
    return below


def alive(pids: set[int]) -> set[int]:
    """Those that still run (a zombie does not)."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.add(pid)
    return found


@pytest.mark.slow
def test_a_camera_that_dies_and_comes_back(vultus: Run, gallery: Path, film: Path, tmp_path: Path) -> None:
    need_gstreamer()
    secret = "hunter2@home"
    with RtspServer({"door": film}, "viewer", secret) as server:
        config = tmp_path / "cameras.yaml"
        address = server.url("door").replace(server.url("door").split("viewer:")[1].split("@")[0], "${DOOR_PASSWORD}")
        config.write_text(f"match: {{rejoin: 0}}\nsources:\n  - name: door\n    address: {address}\n")
        environment = {"DOOR_PASSWORD": secret}
        with watching("--config", config, "--gallery", gallery, environment=environment) as watch:
            watch.until(lambda: {"Emmanuel Macron", "Jacinda Ardern"} <= watch.names(), 40)
            assert all(set(one) >= KEYS and one["source"] == "door" for one in watch.seen)
            assert all(one["time"].endswith("Z") for one in watch.seen)
            server.kill()
            watch.until(lambda: any("door: lost" in line for line in watch.said), 10)
            before = len(watch.seen)
            server.start()
            watch.until(lambda: any(one["name"] for one in watch.seen[before:]), 40)
            below = descendants(watch.process.pid)
            shown = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in below | {watch.process.pid})
            assert len(below) >= 3
            seconds = watch.end()
        assert seconds < 2.5  # of which the interpreter's own end is a part
        assert watch.process.returncode == 0
        assert not alive(below)
    assert secret.encode() not in shown
    assert secret not in "".join(watch.said)
    assert "hunter2" not in "".join(watch.said)


@pytest.mark.slow
def test_status_and_reload(vultus: Run, gallery: Path, film: Path, tmp_path: Path, alone: None) -> None:
    need_gstreamer()
    config = tmp_path / "cameras.yaml"
    with RtspServer({"a": film, "b": film}, "viewer", "hunter2") as server:
        one, two = (f"  - {{name: {name}, address: '{server.url(name)}'}}\n" for name in "ab")
        away = f"  - {{name: away, address: 'rtsp://viewer:hunter2@127.0.0.1:{free_port()}/x'}}\n"
        config.write_text(f"sources:\n{one}{away}")
        with watching("--config", config, "--gallery", gallery) as watch:

            def job() -> dict[str, Any]:
                answer = vultus("status", "--json", code=None).json
                return next(job for job in answer["jobs"] if job["pid"] == watch.process.pid)

            def health() -> dict[str, dict[str, Any]]:
                return {camera["source"]: camera for camera in job()["cameras"]}

            def decoders() -> set[int]:
                return {one["pid"] for one in job()["processes"] if one["group"] == "decode" and one["pid"]}

            watch.until(lambda: "Emmanuel Macron" in watch.names(), 40)
            watch.until(lambda: health()["a"]["fps_analysed"] > 1, 20)
            # Over five seconds, of which the first ones may lie before the connection.
            watch.until(lambda: 15 < health()["a"]["fps_in"] < 35, 20)
            seen = health()
            assert seen["a"]["state"] == "connected"
            assert 0 < seen["a"]["latency"] < 5
            assert abs(seen["a"]["last_face"] - time.time()) < 30
            assert seen["away"]["state"] == "lost"
            assert seen["away"]["restarts"] >= 1
            assert "refused" in seen["away"]["last_error"]
            shown = vultus("status", code=1)
            assert "connected" in shown.out
            assert "hunter2" not in shown.out + shown.err

            config.write_text("sources: [}")
            assert "error" in vultus("reload", "--json", code=1).json["jobs"][-1]
            config.write_text(f"sources:\n{one}{two}")
            other = tmp_path / "other.yaml"
            other.write_text(config.read_text())
            assert "Nothing that runs watches from" in vultus("reload", "--config", other, code=3).err
            answer = vultus("reload", "--config", config, "--json").json["jobs"][-1]
            assert answer == {"added": ["b"], "removed": ["away"], "changed": [], "refused": []}
            watch.until(lambda: any(sighting["source"] == "b" for sighting in watch.seen), 30)
            assert set(health()) == {"a", "b"}
            assert health()["a"]["restarts"] == 0, "it was not disturbed"
            both = decoders()
            assert len(both) == 2, "that of the camera that left has ended, or watches the one that came"
            config.write_text(f"sources:\n{two}")
            watch.process.send_signal(signal.SIGHUP)
            watch.until(lambda: any("reloaded: removed a" in line for line in watch.said), 10)
            watch.until(lambda: set(health()) == {"b"}, 10)
            watch.until(lambda: len(decoders()) == 1, 20)
            (left,) = decoders()
            assert left in both
            watch.until(lambda: not (both - {left}) & descendants(watch.process.pid), 10)
            since = time.time()
            watch.until(lambda: (health()["b"]["last_face"] or 0) > since, 30)
            config.write_text(f"sources:\n{one}{two}")
            vultus("reload", "--config", config)
            watch.until(lambda: (health()["a"]["last_face"] or 0) > since, 40)
            assert len(decoders() - both) == 1
            assert {one["restarts"] for one in job()["processes"]} == {0}, "nothing died"
            watch.end()
        assert watch.process.returncode == 0
        assert "Nothing runs" in vultus("status", code=3).err


@pytest.mark.slow
def test_a_password_on_the_command_line_does_not_stay_in_the_process_list(gallery: Path) -> None:
    address = f"rtsp://viewer:hunter2@127.0.0.1:{free_port()}/none"
    with watching(address, "--gallery", gallery) as watch:
        watch.until(lambda: any("lost" in line for line in watch.said), 20)
        pids = descendants(watch.process.pid) | {watch.process.pid}
        shown = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
        watch.end()
    assert watch.process.returncode == 0
    assert b"127.0.0.1" in shown
    assert b"hunter2" not in shown
    assert "hunter2" not in "".join(watch.said)


@pytest.mark.slow
def test_a_stranger_who_stands_still_is_named_once_enrolled(
    vultus: Run, samples: tuple[Path, Any], tmp_path: Path
) -> None:
    need_gstreamer()
    still = Walk(portrait(samples[0] / "person_b_2.jpg", 300), (200, 40), (200, 40))
    film = write_video(tmp_path / "still.mp4", frames([still], 100))
    vultus("people", "enrol", "Rishi Sunak", samples[0] / "impostor_2.jpg", "--gallery", tmp_path / "g")
    with RtspServer({"desk": film}) as server, watching(server.url("desk"), "--gallery", tmp_path / "g") as watch:
        watch.until(lambda: watch.names() == {None}, 40)
        vultus("people", "enrol", "Jacinda Ardern", samples[0] / "person_b_1.jpg", "--gallery", tmp_path / "g")
        watch.until(lambda: "Jacinda Ardern" in watch.names(), 5)
        watch.end()
    stranger, known = watch.seen[0], watch.seen[-1]
    assert known["track"] == stranger["track"]
    assert known["time"] > stranger["time"]


@pytest.mark.slow
def test_for_so_many_seconds(vultus: Run, gallery: Path, film: Path) -> None:
    need_gstreamer()
    with RtspServer({"hall": film}) as server:
        start = time.monotonic()
        answer = vultus("watch", server.url("hall"), "--for", 8, "--gallery", gallery, "--json")
        assert 7.5 < time.monotonic() - start < 14
    assert {one["name"] for one in answer.lines} & {"Emmanuel Macron", "Jacinda Ardern"}
    assert {one["source"] for one in answer.lines} == {server.url("hall")}


def test_a_video_file_to_its_end(vultus: Run, gallery: Path, film: Path) -> None:
    seen = vultus("watch", film, "--gallery", gallery, "--json").lines
    who = [(one["name"], one["position"]) for one in seen]
    assert {name for name, _ in who} == {"Emmanuel Macron", "Jacinda Ardern"}
    assert all((position < 3.8) == (name == "Emmanuel Macron") for name, position in who)
    assert vultus("gallery", "stats", "--gallery", gallery, "--json").json["sightings"] >= len(seen)


@pytest.mark.slow
def test_known_only_says_nothing_of_strangers(vultus: Run, samples: tuple[Path, Any], gallery: Path) -> None:
    group = samples[0] / "t1.jpg"
    assert len(vultus("watch", group, "--gallery", gallery, "--json").lines) == 6
    assert not vultus("watch", group, "--known-only", "--gallery", gallery, "--json").lines


@pytest.mark.slow
def test_a_folder_is_watched_for_further_files(samples: tuple[Path, Any], gallery: Path, tmp_path: Path) -> None:
    with watching(tmp_path, "--gallery", gallery) as watch:
        (tmp_path / "in").mkdir()
        shutil.copy(samples[0] / "person_a_2.jpg", tmp_path / "in" / "first.jpg")
        watch.until(lambda: watch.names() == {"Emmanuel Macron"}, 30)
        shutil.copy(samples[0] / "person_b_2.jpg", tmp_path / "in" / "second.jpg")
        watch.until(lambda: watch.names() == {"Emmanuel Macron", "Jacinda Ardern"}, 10)
        watch.end()
    assert watch.process.returncode == 0


@pytest.mark.slow
def test_a_bad_source_is_refused_by_name_and_the_others_are_watched(
    vultus: Run, samples: tuple[Path, Any], gallery: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a film")
    answer = vultus("watch", bad, samples[0] / "person_a_2.jpg", "--gallery", gallery, "--json", code=1)
    assert [one["name"] for one in answer.lines] == ["Emmanuel Macron"]
    assert "bad.mp4" in answer.err
    assert "missing.mp4" in vultus("watch", tmp_path / "missing.mp4", "--gallery", gallery, code=2).err
    assert "SOURCE" in vultus("watch", "--gallery", gallery, code=2).err
