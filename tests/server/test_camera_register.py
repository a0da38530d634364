"""Cameras of the configuration beside those of the server, over restarts."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from vultus.configs.loader import load
from vultus.configs.schema import Source
from vultus.server.cameras import admission
from vultus.server.cameras.register import Camera, Draft, Register
from vultus.server.problems import Problem
from vultus.server.store import Store
from vultus.server.vault import Vault, forget_all
from vultus.stages.reach import Forbidden

HALL = Source(name="hall", address="rtsp://u:p@127.0.0.1/hall", zones=(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),))


def opened(folder: Path, *sources: Source) -> Register:
    config = load(None, {"serve.folder": str(folder)})
    store = Store(folder)
    register = Register(store, Vault.open(config, store), sources)
    register.open()
    return register


def test_configured_cameras_keep_their_numbers_and_cannot_be_changed(tmp_path: Path) -> None:
    register = opened(tmp_path, HALL)
    own = register.add(Draft(name="door", address="rtsp://192.0.2.7/door"))
    again = opened(tmp_path, Source(address="rtsp://192.0.2.9/new"), HALL)
    names = {camera.name: camera for camera in again.all()}
    assert names["hall"].id == 1
    assert names["hall"].view.zones == HALL.zones
    assert names["door"] == own
    assert names["rtsp://192.0.2.9/new"].id == 3
    for act in (lambda: again.change(1, Draft(enabled=False)), lambda: again.remove(1)):
        with pytest.raises(Problem, match="configuration") as refused:
            act()
        assert refused.value.status == 409
    assert [camera.name for camera in opened(tmp_path).all()] == ["door"]


def test_a_camera_of_the_configuration_takes_the_name(tmp_path: Path) -> None:
    opened(tmp_path).add(Draft(name="hall", address="rtsp://192.0.2.7/door"))
    register = opened(tmp_path, HALL)
    assert [(camera.name, camera.configured) for camera in register.all()] == [("hall", False), ("hall", True)]
    with pytest.raises(Problem, match="already"):
        register.add(Draft(name="hall", address="rtsp://192.0.2.7/door"))


def test_without_its_key_a_camera_waits_for_its_address(tmp_path: Path) -> None:
    register = opened(tmp_path)
    camera = register.add(Draft(name="door", address="rtsp://192.0.2.7/door"))
    forget_all(Store(tmp_path))
    found = opened(tmp_path).get(camera.id)
    assert found.address == ""
    assert "give it anew" in str(admission.why_not(found, load().serve.cameras))


def test_a_number_is_not_given_twice(tmp_path: Path) -> None:
    register = opened(tmp_path)
    draft = Draft(name="door", address="rtsp://192.0.2.7/door")
    register.remove(register.add(draft).id)
    assert register.add(draft).id == 2


@pytest.mark.parametrize("local", [True, False])
def test_files_and_webcams_only_if_the_configuration_says_so(tmp_path: Path, local: bool) -> None:
    rules = load(None, {"serve.cameras": {"local": local}}).serve.cameras
    film = tmp_path / "film.mp4"
    film.write_bytes(b"x")
    for address in (str(film), "webcam:0"):
        camera = Camera(id=1, name="x", address=address, view=HALL.view, enabled=True, configured=False, created=0.0)
        assert (admission.why_not(camera, rules) is None) == local
        assert admission.why_not(msgspec.structs.replace(camera, configured=True), rules) == (
            "a file is no camera unless it is played as one (`paced: true`); index it as an archive"
            if address != "webcam:0"
            else None
        )
        if local:
            admission.check(address, rules)
            wanted = admission.wanted(camera, rules)
            assert wanted.networks is None
            assert wanted.source.paced
        else:
            with pytest.raises(Forbidden, match=r"serve\.cameras\.local"):
                admission.check(address, rules)
    for wrong in (str(tmp_path), "/nowhere", "webcam:x"):
        with pytest.raises(Forbidden):
            admission.check(wrong, rules)


def test_own_cameras_are_confined_and_configured_ones_are_not() -> None:
    rules = load().serve.cameras
    camera: dict[str, Any] = {"id": 1, "name": "x", "view": HALL.view, "enabled": True, "created": 0.0}
    for configured, networks in ((False, rules.networks), (True, None)):
        found = Camera(address=HALL.address, configured=configured, **camera)
        assert admission.wanted(found, rules).networks == networks
