"""Who looks gets the newest, in turns, and one lease serves everybody."""

import asyncio
import json
import threading

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from vultus.pipeline.messages import Marks, Preview
from vultus.server.cameras.changes import CameraChange
from vultus.server.cameras.live import HEADER, Live, Picture, Viewer


def picture(number: int) -> Picture:
    return Picture(number, b"%d" % number)


def shown(item: int = 1) -> Preview:
    return Preview(item=item, time=5.0, width=64, height=36, jpeg=b"\xff\xd8jpeg", veiled=True)


def test_the_newest_wins_and_cameras_take_turns() -> None:
    async def scene() -> None:
        viewer = Viewer()
        viewer.look_at(frozenset((1, 2)), None)
        for number in range(4):
            viewer.offer(1, picture(number))
        viewer.offer(2, picture(9))
        viewer.offer(3, picture(8))  # nobody asked for it
        viewer.tell("marks", 1, b"old")
        viewer.tell("marks", 1, b"new")
        assert [await viewer.next() for _ in range(3)] == [b"new", picture(3), picture(9)]
        waiting = asyncio.create_task(viewer.next())
        await asyncio.sleep(0)
        viewer.look_at(frozenset((2,)), None)
        viewer.offer(1, picture(10))
        viewer.offer(2, picture(11))
        assert await waiting == picture(11)
        viewer.end()
        assert await viewer.next() is None

    asyncio.run(scene())


def test_a_page_that_says_what_it_has_is_never_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vultus.server.cameras.live._BEHIND", 0.05)

    async def scene() -> None:
        viewer = Viewer()
        viewer.look_at(frozenset((1,)), None)
        viewer.got(0)
        viewer.offer(1, picture(1))
        assert await viewer.next() == picture(1)
        await asyncio.sleep(0.06)
        viewer.offer(1, picture(2))
        waiting = asyncio.create_task(viewer.next())
        viewer.offer(1, picture(3))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        viewer.tell("state", 1, b"lost")
        assert await waiting == b"lost", "words overtake pictures"
        waiting = asyncio.create_task(viewer.next())
        await asyncio.sleep(0)
        viewer.got(1)
        assert await waiting == picture(3)

    asyncio.run(scene())


def test_a_page_that_says_nothing_more_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vultus.server.cameras.live._BEHIND", 0.01)
    monkeypatch.setattr("vultus.server.cameras.live._GIVEN_UP", 0.05)

    async def scene() -> None:
        viewer = Viewer()
        viewer.look_at(frozenset((1,)), None)
        viewer.got(0)
        for number in (1, 2):
            viewer.offer(1, picture(number))
            assert await asyncio.wait_for(viewer.next(), 2) == picture(number)
            await asyncio.sleep(0.02)

    asyncio.run(scene())


def test_everybody_gets_the_same_bytes() -> None:
    async def scene() -> None:
        live = Live()
        with live.looking() as one, live.looking() as two:
            for viewer in (one, two):
                viewer.look_at(frozenset((7,)), None)
            thread = threading.Thread(
                target=lambda: (
                    live.show(7, shown()),
                    live.show(7, Marks(item=1, time=5.0, width=64, height=36, marks=())),
                    live.changed(CameraChange(at=0.0, camera=7, name="hall", state="lost", reason="gone")),
                )
            )
            thread.start()
            told = [[await asyncio.wait_for(viewer.next(), 2) for _ in range(3)] for viewer in (one, two)]
            thread.join()
            assert sorted(map(str, told[0])) == sorted(map(str, told[1]))
            pictures = [each for each in (*told[0], *told[1]) if isinstance(each, Picture)]
            assert pictures[0] is pictures[1]
            assert HEADER.unpack_from(pictures[0].message) == (1, 1, 64, 36, 0, 7, 1, 5.0)
            assert pictures[0].jpeg == b"\xff\xd8jpeg"
            texts = {text["type"]: text for text in (json.loads(each) for each in told[0] if isinstance(each, bytes))}
            assert texts["state"] == {"type": "state", "camera": 7, "state": "lost", "reason": "gone"}
            assert texts["marks"]["marks"] == []
        assert len(live) == 0

    asyncio.run(scene())


def test_one_lease_serves_everybody() -> None:
    async def scene() -> None:
        live, leases = Live(), []

        def look(camera: int, seconds: float, *, awake: bool) -> None:
            assert seconds > 1
            leases.append((camera, awake))

        with live.looking() as one, live.looking() as two:
            one.look_at(frozenset((1,)), None)
            two.look_at(frozenset((1, 2)), 2)
            tasks = [asyncio.create_task(live.keep(viewer, look)) for viewer in (one, two)]
            while len(leases) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert sorted(leases) == [(1, False), (2, True)]
            one.look_at(frozenset((1,)), 1)
            while len(leases) < 3:
                await asyncio.sleep(0.01)
            assert leases[-1] == (1, True), "large at once"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scene())


def test_pages_of_other_origins_are_refused(client: httpx.Client) -> None:
    url = f"ws://{client.base_url.netloc.decode()}/api/v1/live"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, origin="http://elsewhere.example")
    assert refused.value.response.status_code == 403
    with connect(url, origin=f"http://{client.base_url.netloc.decode()}") as socket:
        socket.send('{"cameras": [1, 2, 3]}')


@pytest.mark.parametrize(
    "said", ["x", "[]", '{"cameras": 1}', '{"more": 1}', '{"cameras": [-1]}', '{"got": 1e999}', b"\x00", '"' * 9000]
)
def test_what_a_page_must_not_say_ends_its_socket(client: httpx.Client, said: str | bytes) -> None:
    with connect(f"ws://{client.base_url.netloc.decode()}/api/v1/live") as socket:
        socket.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
