"""Four cameras, and every process of the job killed and stopped in turn: the rest goes on, and it is back."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from media import Walk, frames, portrait, write_video
from rtsp import RtspServer, need_gstreamer
from watching import Watching, watching

from vultus.pipeline.health import ask, jobs

CAMERAS = ("a", "b", "c", "d")


def shared_frames(pids: set[int]) -> int:
    """Rings of frames that are open in these processes."""
    rings = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if "memfd:vultus-frames" in os.readlink(entry):
                    rings.add(entry.stat().st_ino)
            except OSError:
                continue
    return len(rings)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_each_process_in_turn(
    how: signal.Signals,
    samples: tuple[Path, Any],
    gallery: Path,
    tmp_path: Path,
    alone: None,
) -> None:
    need_gstreamer()
    walk = Walk(portrait(samples[0] / "person_a_2.jpg", 240), (20, 40), (380, 40), 0, 60)
    film = write_video(tmp_path / "film.mp4", frames([walk], 100))
    config = tmp_path / "cameras.yaml"
    with RtspServer(dict.fromkeys(CAMERAS, film)) as server:
        listed = "".join(f"  - {{name: {name}, address: '{server.url(name)}'}}\n" for name in CAMERAS)
        config.write_text(f"decode: {{cameras_per_process: 2}}\nsources:\n{listed}")
        with watching("--config", config, "--gallery", gallery) as watch:
            watch.until(lambda: {one["source"] for one in watch.seen if one["name"]} == set(CAMERAS), 90)
            rings = None
            for number in range(4):
                before = _processes()
                victim = before[number]
                os.kill(victim["pid"], how)
                took = _back(watch, number, victim["pid"])
                print(f"{how.name} of {victim['group']}[{victim['worker']}]: back after {took:.1f} s")
                assert took < 15, "5 s on a machine that does nothing else"
                since = time.time()
                watch.until(partial(_faces_everywhere, since), 60)
                for other, was in enumerate(before):
                    if other != number:
                        assert _processes()[other]["pid"] == was["pid"], "the others were not touched"
                now = shared_frames({process["pid"] for process in _processes()})
                assert rings is None or now <= rings + 1, "shared memory of the dead is gone"
                rings = now if rings is None else rings
            assert {one["name"] for one in watch.seen} <= {"Emmanuel Macron", None}
            watch.end()
        assert watch.process.returncode == 0


def _processes() -> list[dict[str, Any]]:
    processes: list[dict[str, Any]] = msgspec.json.decode(ask(jobs()[0], "status"))["processes"]
    return processes


def _faces_everywhere(since: float) -> bool:
    """Whether every camera sends, and showed a face on a frame that came after `since`."""
    cameras = msgspec.json.decode(ask(jobs()[0], "status"))["cameras"]
    return all(one["state"] == "connected" and (one["last_face"] or 0) > since for one in cameras)


def _back(watch: Watching, number: int, pid: int) -> float:
    """Seconds until another process stands in its place."""
    begin = time.monotonic()

    def there() -> bool:
        process = _processes()[number]
        return process["state"] == "running" and process["pid"] != pid

    watch.until(there, 60)
    return time.monotonic() - begin
