"""Addresses, folders and patterns to items."""

import os
from pathlib import Path

import pytest

from vultus.configs.schema import Source
from vultus.stages.sources import Found, Unusable, find

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for name in (
        "b.jpg",
        "a.JPG",
        "notes.txt",
        ".hidden.jpg",
        "Zoe/1.png",
        "Anna Lang/2.heic",
        "Anna Lang/1.mp4",
        ".git/x.jpg",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    return root


def names(found: object, root: Path) -> list[str]:
    return [os.path.relpath(each.source, root) for each in found]


def test_folders_sorted_and_labelled(archive: Path) -> None:
    found = list(find([str(archive)], label_from_folder=True))
    assert names(found, archive) == ["a.JPG", "b.jpg", "Anna Lang/1.mp4", "Anna Lang/2.heic", "Zoe/1.png"]
    assert [each.kind for each in found] == ["photo", "photo", "video", "photo", "photo"]
    assert [each.label for each in found] == [None, None, "Anna Lang", "Anna Lang", "Zoe"]
    info = (archive / "Zoe/1.png").stat()
    assert (found[-1].size, found[-1].mtime_ns) == (info.st_size, info.st_mtime_ns)
    assert [each.label for each in find([str(archive)])] == [None] * 5


def test_files_patterns_and_twice_the_same(archive: Path) -> None:
    (file,) = find([str(archive / "Zoe/1.png")], label_from_folder=True)
    assert file.label == "Zoe"
    asked = [
        str(archive / "Zoe/1.png"),
        str(archive),
        str(archive / "Zoe"),
        f"{archive}/*.jpg",
        str(archive / "**" / "*.png"),
    ]
    assert names(find(asked), archive) == ["Zoe/1.png", "a.JPG", "b.jpg", "Anna Lang/1.mp4", "Anna Lang/2.heic"]
    assert names(find([f"{archive}/*/[12].*"]), archive) == ["Anna Lang/1.mp4", "Anna Lang/2.heic", "Zoe/1.png"]
    (nothing,) = find([f"{archive}/*.bmp"])
    assert nothing == Unusable(source=f"{archive}/*.bmp", reason="no file fits this pattern")


def test_relative_paths_become_absolute(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive)
    (found,) = find(["Zoe/../Zoe/1.png"])
    assert found.source == found.address == str(archive / "Zoe/1.png")
    assert found.item(7, 1).item == 7


def test_walking_is_lazy(archive: Path) -> None:
    walk = find([str(archive)])
    assert next(walk).source.endswith("a.JPG")
    (archive / "Anna Lang" / "0.jpg").write_bytes(b"later")
    assert names(walk, archive)[1] == "Anna Lang/0.jpg"


def test_loops_and_broken_links(archive: Path) -> None:
    (archive / "Zoe" / "up").symlink_to(archive)
    (archive / "Zoe" / "self").symlink_to(archive / "Zoe")
    (archive / "gone.jpg").symlink_to(archive / "nowhere.jpg")
    (archive / "twin.jpg").symlink_to(archive / "b.jpg")
    found = list(find([str(archive)]))
    assert [each.reason for each in found if isinstance(each, Unusable)] == [
        "cannot be read: No such file or directory"
    ]
    seen = [each.source for each in found]
    assert len(seen) == len(set(seen)) == 7


def test_deep_trees(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(400):
        path = path / "d"
    os.makedirs(path)
    (path / "x.jpg").write_bytes(b"x")
    assert [each.source for each in find([str(tmp_path)])] == [str(path / "x.jpg")]


def test_what_cannot_be_read_is_named(archive: Path, tmp_path: Path) -> None:
    os.mkfifo(archive / "pipe.jpg")
    (missing,) = find([str(tmp_path / "no such")])
    assert missing == Unusable(source=str(tmp_path / "no such"), reason="cannot be read: No such file or directory")
    pipe = next(each for each in find([str(archive)]) if isinstance(each, Unusable))
    assert (Path(pipe.source).name, pipe.reason) == ("pipe.jpg", "not a regular file")
    strange = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    with open(strange, "wb") as file:
        file.write(b"x")
    (undecodable,) = find([os.fsdecode(strange)])
    assert "not UTF-8" in undecodable.reason
    undecodable.source.encode()


def test_a_folder_that_may_not_be_listed_is_named(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir

    def refuse(path: str) -> list[str]:  # permissions do not stop root, as whom build servers run
        if path.endswith("Zoe"):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    found = list(find([str(archive)]))
    assert Unusable(source=str(archive / "Zoe"), reason="cannot be read: Permission denied") in found
    assert len(found) == 5


def test_a_file_without_a_telling_name(tmp_path: Path) -> None:
    for name, data, kind in (
        ("a", PNG, "photo"),
        ("b.data", b"\xff\xd8\xff\xe0", "photo"),
        ("c", b"\0\0\0\x18ftypisom", "video"),
    ):
        (tmp_path / name).write_bytes(data)
        (found,) = find([str(tmp_path / name)])
        assert found.kind == kind


def test_cameras_and_webcams() -> None:
    asked = [
        "rtsp://viewer:s3cret@192.0.2.7/stream",
        Source(address="HTTP://u:s3cret@cam/x.mjpg", name="gate"),
        "webcam:0",
        "webcam:x",
        "ftp://u:s3cret@host/x",
    ]
    found = list(find(asked))
    assert [getattr(each, "kind", None) for each in found] == ["camera", "camera", "webcam", None, None]
    assert [each.source for each in found[:3]] == ["rtsp://192.0.2.7/stream", "gate", "webcam:0"]
    assert isinstance(found[0], Found)
    assert "s3cret" in found[0].address
    for each in found:
        assert "s3cret" not in each.source + getattr(each, "reason", "")


@pytest.mark.parametrize(
    "address", ["rtsp://", "rtsp:///stream", "http://:80/x", "rtsp://viewer:pw@/x", "rtsp://[::1/x"]
)
def test_a_camera_without_a_host_is_refused_at_once(address: str) -> None:
    (found,) = find([address])
    assert isinstance(found, Unusable)
    assert found.reason == f"an address names a host: {address.partition(':')[0]}://HOST/PATH"
    assert "pw" not in found.source
