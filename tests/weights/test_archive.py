"""Hostile and damaged archives cost neither memory nor a wrong file."""

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress

import pytest

from vultus.weights import ModelRefused
from vultus.weights.archive import extract

DATA = b"0123456789" * 100


def wheel(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def sdist(path, members):
    with tarfile.open(path, "w:gz") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def test_members_are_found(tmp_path):
    assert extract(wheel(tmp_path / "a.whl", {"p/x": DATA}), "p/x", len(DATA)) == DATA
    assert extract(sdist(tmp_path / "a.tar.gz", {"p-1/t/x": DATA, "p-1/x": b""}), "t/x", len(DATA)) == DATA


@pytest.mark.parametrize("make", [wheel, sdist])
def test_wrong_members(tmp_path, make):
    path = make(tmp_path / ("a.whl" if make is wheel else "a.tar.gz"), {"top/x": DATA})
    member = "top/x" if make is wheel else "x"
    with pytest.raises(ModelRefused, match="is more than 999 bytes, not 999"):
        extract(path, member, 999)
    with pytest.raises(ModelRefused, match="is 1000 bytes, not 1001"):
        extract(path, member, 1001)
    with pytest.raises(ModelRefused, match="has no member other"):
        extract(path, "other", 1000)


@pytest.mark.slow
@pytest.mark.parametrize("make", [wheel, sdist])
def test_a_member_that_unpacks_to_much_more_is_not_unpacked(tmp_path, make):
    bomb = bytes(200_000_000)
    path = make(tmp_path / ("a.whl" if make is wheel else "a.tar.gz"), {"top/x": bomb})
    assert path.stat().st_size < 1_000_000
    del bomb
    tracemalloc.start()
    with pytest.raises(ModelRefused, match="more than"):
        extract(path, "top/x" if make is wheel else "x", 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("make", [wheel, sdist])
def test_damaged_archives_are_refused(tmp_path, make, rand):
    noise = rand.integers(0, 256, 50_000, dtype="uint8").tobytes()
    path = make(tmp_path / ("a.whl" if make is wheel else "a.tar.gz"), {"top/x": noise})
    whole = path.read_bytes()
    member = "top/x" if make is wheel else "x"
    for kept in (0, 1, 20, len(whole) // 2, len(whole) * 9 // 10):
        path.write_bytes(whole[:kept])
        with pytest.raises(ModelRefused):
            extract(path, member, len(noise))
    for _ in range(200):
        broken = bytearray(whole)
        broken[rand.integers(0, len(broken))] ^= 1 << rand.integers(0, 8)
        path.write_bytes(broken)
        with suppress(ModelRefused):
            assert len(extract(path, member, len(noise))) == len(noise)  # its hash is compared by the caller


def test_a_tar_of_endless_members_is_left(tmp_path):
    one = tarfile.TarInfo("a/b").tobuf()
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(one * 100)
    with pytest.raises(ModelRefused, match="more than 20000 members"):
        extract(path, "x", 10)


def test_links_are_not_followed(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo("p/x")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        file.addfile(info)
    with pytest.raises(ModelRefused, match="has no member x"):
        extract(path, "x", 10)
