"""Four cameras on a real RTSP server, each spoilt in another way at once: all are well afterwards and see the right person."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from media import Walk, frames, portrait, write_video
from rtsp import RtspServer, need_gstreamer
from rtsp_proxy import Fault, RtspProxy, garbage, half_a_packet, noise, refused, whole
from watching import watching

from vultus.pipeline.health import ask, jobs

CAMERAS = ("a", "b", "c", "d")
SECRET = "hunter2"
NOTICED, BACK = 10.0, 8.0
"""Seconds; back within 5 on a machine that does nothing else."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_four_cameras_and_four_faults_in_turn(
    samples: tuple[Path, Any], gallery: Path, tmp_path: Path, rand: np.random.Generator, alone: None
) -> None:
    need_gstreamer()
    walk = Walk(portrait(samples[0] / "person_a_2.jpg", 240), (20, 40), (380, 40), 0, 45)
    film = write_video(tmp_path / "film.mp4", frames([walk], 75))
    faults: list[tuple[Fault, str]] = [
        (half_a_packet, "nothing usable"),
        (garbage(rand), "hardly any of which can be decoded"),
        (noise(rand), ""),
        (refused("503 Service Unavailable"), "cannot send this stream now"),
    ]
    config = tmp_path / "cameras.yaml"
    with ExitStack() as inside:
        server = inside.enter_context(RtspServer(dict.fromkeys(CAMERAS, film), "viewer", SECRET))
        proxies = {name: inside.enter_context(RtspProxy(server.port)) for name in CAMERAS}
        listed = "".join(
            f"  - {{name: {name}, address: '{proxy.url(server.url(name))}'}}\n" for name, proxy in proxies.items()
        )
        config.write_text(f"decode: {{cameras_per_process: 2}}\nmatch: {{rejoin: 0}}\nsources:\n{listed}")
        watch = inside.enter_context(watching("--config", config, "--gallery", gallery))
        watch.until(lambda: {one["source"] for one in watch.seen if one["name"]} == set(CAMERAS), 60)
        before = _pids()
        for turn in range(2):
            chosen = {name: faults[(number + turn) % 4] for number, name in enumerate(CAMERAS)}
            noticed, back = _suffer(watch, proxies, chosen)
            for name, (_, words) in chosen.items():
                print(
                    f"{words or 'noise'}: noticed after {noticed[name]:.1f} s, a face {back[name]:.1f} s after its end"
                )
        assert max(noticed.values()) < NOTICED
        assert max(back.values()) < BACK
        seen = len(watch.seen)
        watch.until(lambda: {one["source"] for one in watch.seen[seen:] if one["name"]} == set(CAMERAS), 30)
        assert all(camera["state"] == "connected" for camera in _cameras().values())
        assert _pids() == before, "no process died of it"
        assert {one["name"] for one in watch.seen} <= {"Emmanuel Macron", None}
        assert SECRET not in ask(jobs()[0], "status").decode()
        watch.end()
    assert SECRET not in "".join(watch.said)


def _suffer(
    watch: Any, proxies: dict[str, RtspProxy], chosen: dict[str, tuple[Fault, str]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Each camera its fault until it was noticed; seconds until then, and from its end to the next face, of each."""
    lost = {name: camera["restarts"] for name, camera in _cameras().items()}
    begin = time.time()
    for name, proxy in proxies.items():
        proxy.fault, words = chosen[name]
        if "cannot send" in words:
            proxy.hang_up()  # who is connected asks for nothing
    noticed: dict[str, float] = {}
    back: dict[str, float] = {}

    def all_back() -> bool:
        for name, camera in _cameras().items():
            said = camera["restarts"] > lost[name] and chosen[name][1] in camera["last_error"]
            if name not in noticed and said:
                noticed[name] = time.time() - begin
                proxies[name].fault = whole
            elif name in noticed and name not in back and (camera["last_face"] or 0) > begin + noticed[name]:
                back[name] = time.time() - begin - noticed[name]
        return len(back) == len(proxies)

    watch.until(all_back, 40)
    return noticed, back


def _cameras() -> dict[str, dict[str, Any]]:
    return {camera["source"]: camera for camera in msgspec.json.decode(ask(jobs()[0], "status"))["cameras"]}


def _pids() -> list[int]:
    return [process["pid"] for process in msgspec.json.decode(ask(jobs()[0], "status"))["processes"]]
