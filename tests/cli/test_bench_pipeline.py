"""`vultus bench pipeline`: its films show what they say, its judge judges, and the whole runs."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import av
import msgspec
import numpy as np
import pytest
from cli_process import COMMAND, Run

from vultus.cli import scenes
from vultus.cli.film_judge import Said, demanded, first_clear, judge, visit_of
from vultus.cli.paced import Cameras
from vultus.cli.pipeline_live import Live, Sample
from vultus.cli.pipeline_plot import plot
from vultus.pipeline.health import ask, jobs
from vultus.stages import video
from vultus.stages.finder import FaceFinder

SIZE = (800, 450)


@pytest.fixture(scope="module")
def portraits(samples: tuple[Path, Any], registry: object) -> list[scenes.Portrait]:
    with FaceFinder() as finder:
        found = []
        for name in ("person_a_2", "person_b_2", "impostor_1"):
            image = finder.read(samples[0] / f"{name}.jpg")
            (face,) = finder.find(image)
            found.append(scenes.cut_out(image, face.box, name, known=name != "impostor_1"))
        return found


@pytest.fixture(scope="module")
def film(portraits: list[scenes.Portrait]) -> scenes.Film:
    return scenes.script(portraits, SIZE, 30, np.random.default_rng(3))


@pytest.mark.slow
def test_a_detector_finds_who_is_clear_where_the_truth_says(film: scenes.Film, registry: object) -> None:
    clear = found = 0
    with FaceFinder() as finder:
        for nth, picture in enumerate(film.pictures(every=40)):
            number = 40 * nth
            faces = finder.find(picture)
            for seen in film.truth(number):
                clear += seen.clear
                found += seen.clear and any(visit_of(film, number, face.box, 0) == (0, seen.visit) for face in faces)
    assert clear >= 8
    assert found >= 0.9 * clear


def test_a_turn_hides_the_face_and_truth_knows_it(film: scenes.Film) -> None:
    (turning,) = (index for index, visit in enumerate(film.visits) if visit.act == "turn")
    visit = film.visits[turning]
    clear = [
        any(seen.visit == turning and seen.clear for seen in film.truth(number))
        for number in range(visit.first, visit.last + 1)
    ]
    assert clear[5]
    assert not clear[round(len(clear) * 0.55)]
    assert clear[-5]


def test_the_nearer_one_hides_the_other(film: scenes.Film) -> None:
    far, near = (index for index, visit in enumerate(film.visits) if visit.height[0] in (0.12, 0.17))
    both = [truth for number in range(film.frames) if len(truth := film.truth(number)) == 2]
    assert [seen.visit for seen in both[0]] == [far, near], "the farthest first, as they are painted"
    hidden = [truth for truth in both if not truth[0].clear and truth[1].clear]
    assert 3 <= len(hidden) < len(both)


def test_the_judge(film: scenes.Film) -> None:
    every = demanded(film, range(film.frames))
    assert len(every) == len(film.visits)
    said = []
    for _, index in every:
        number = first_clear(film, (0, index))
        (box,) = (seen.box for seen in film.truth(number) if seen.visit == index)
        who = film.who(index)
        said.append(Said(frame=number, box=box, name=who.who if who.known else None, track=index))
    right = judge(film, said, frames=range(film.frames))
    assert (right.once, right.again, right.lost, right.wrong, right.nowhere) == (right.visits, 0, 0, 0, 0)
    assert right.strangers_told == right.strangers >= 1
    assert right.visits + right.strangers == len(film.visits)

    again = [*said, *(msgspec.structs.replace(one, track=99) for one in said if one.name)]
    assert judge(film, again, frames=range(film.frames)).again == right.visits
    assert judge(film, [], frames=range(film.frames)).lost == right.visits
    swapped = [msgspec.structs.replace(one, name="nobody") for one in said]
    assert judge(film, swapped, frames=range(film.frames)).wrong == len(film.visits)
    apart = [msgspec.structs.replace(one, box=(1.0, 300.0, 9.0, 9.0)) for one in said]
    assert judge(film, apart, frames=range(film.frames)).nowhere == len(said)
    later = [msgspec.structs.replace(one, frame=one.frame + film.frames) for one in said]
    second = judge(film, later, frames=range(film.frames, 2 * film.frames))
    assert second == right, "the film is shown again and again"


@pytest.mark.slow
def test_cameras_send_at_their_own_pace_and_say_when_they_began(tmp_path: Path) -> None:
    path = tmp_path / "quiet.mp4"
    video.write(path, scenes.empty((64, 64), 0.4).pictures(), scenes.RATE)
    with Cameras([path], reconnect=0.9) as server:
        before = time.time()
        with urlopen(server.address(0), timeout=10) as answer:
            sent = answer.read()
        took = time.time() - before
        assert 0.9 <= took < 5
        assert 0 <= server.position(0, time.time()) <= took
        assert server.position(0, before - 1) < 0
    (tmp_path / "sent.ts").write_bytes(sent)
    with av.open(str(tmp_path / "sent.ts")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) in range(22, 25), "ten frames, and ten, and some more"
    assert np.diff(times) == pytest.approx(0.04, abs=0.001)


def test_the_plot_has_a_line_a_process() -> None:
    samples = [
        Sample(at=float(at), memory={"main": 10**8, "<b>": at * 10**7}, files={"main": 9, "<b>": 8}) for at in range(9)
    ]
    fields = dict.fromkeys(Live.__struct_fields__, 0)
    page = plot(Live(**{**fields, "samples": tuple(samples)}), {"size": "<i>"})
    assert page.count("<polyline") == 4
    assert "<b>" not in page
    assert "<i>" not in page


@pytest.mark.slow
def test_a_long_run_that_is_stopped_ends_at_once(samples: object, tmp_path: Path, alone: None) -> None:
    run = ["bench", "pipeline", "--no-fast", "--size", "320x180", "--seconds", "8", "--cameras", "1", "--watch", "3000"]
    with subprocess.Popen([*COMMAND, *run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
        try:
            while not _all_connected():
                assert bench.poll() is None, bench.communicate()
                time.sleep(0.05)
            bench.send_signal(signal.SIGTERM)
            _, err = bench.communicate(timeout=10)
        finally:
            bench.kill()
    assert bench.returncode == 130
    assert err.endswith("vultus: stopped\n")


def _all_connected() -> bool:
    cameras = [camera for job in jobs() for camera in msgspec.json.decode(ask(job, "status"))["cameras"]]
    return bool(cameras) and all(camera["state"] == "connected" for camera in cameras)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_bench(vultus: Run, tmp_path: Path) -> None:
    answer = vultus(
        "bench", "pipeline", "--size", "800x450", "--seconds", 20, "--cameras", 2, "--busy", 1, "--watch", 22,
        "--plot", tmp_path / "memory.html", "--json", timeout=280,
    ).json  # fmt: skip
    third, every, plain = answer["film"]
    assert plain["analysed"] == every["analysed"] == 500
    assert third["analysed"] == 167
    assert plain["verdict"]["lost"] == every["verdict"]["lost"] == third["verdict"]["lost"] == 0
    assert every["embeddings_per_visit"] < plain["embeddings_per_visit"] / 5
    run = answer["cameras"]
    assert run["verdict"]["wrong"] == 0
    assert [row["group"] for row in run["stages"]] == ["decode", "faces", "people"]
    assert "<polyline" in (tmp_path / "memory.html").read_text()
