"""The manifest that ships, and what a wrong one is told."""

import msgspec
import pytest

from vultus.weights import Registry, UnknownModel
from vultus.weights.manifest import parse, shipped

GOOD = b"""
format = 1
[archives.a]
package = "a"
version = "1"
form = "wheel"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
bytes = 5
[models]
[samples."x.jpg"]
author = "A"
licence = "B"
origin = "C"
source = { archive = "a", member = "x.jpg" }
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
bytes = 7
"""


def test_the_default_models_are_free_to_use_and_have_two_sources():
    manifest = shipped()
    for name, kind in (("yunet_2023mar", "detector"), ("sface_2021dec", "embedder")):
        entry = manifest.entry(name)
        assert entry.kind == kind
        assert entry.commercial
        assert [source.url is None for source in entry.sources] == [True, False]


def test_photographs_name_their_authors_and_show_two_people_twice():
    people = [photo.person for photo in shipped().samples.values()]
    assert sorted(people.count(person) for person in set(people) if person) == [1, 1, 2, 2]
    assert all(photo.author and photo.licence and photo.origin for photo in shipped().samples.values())


def test_unknown_model_suggests_the_nearest(tmp_path):
    registry = Registry(tmp_path)
    for call in (registry.entry, registry.resolve, lambda name: registry.pull([name])):
        with pytest.raises(UnknownModel, match="did you mean sface_2021dec"):
            call("sface_2021")
    with pytest.raises(UnknownModel, match=r"there are: .*sface_2021dec.*yunet_2023mar"):
        registry.entry("zzzz")
    assert not list(tmp_path.iterdir()), "asking for a model that is not there touched the disk"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"format = 1", b"format = 2", "Invalid enum value 2"),
        (b'form = "wheel"', b'form = "egg"', "Invalid enum value 'egg'"),
        (b"bytes = 5", b"bytes = 0", ">= 1"),
        (b"bytes = 5", b"byte = 5", "unknown field `byte`"),
        (b'archive = "a"', b'archive = "b"', r"archive `b` is not in \[archives\]"),
        (b'member = "x.jpg"', b'url = "https://host/x"', "either `archive` and `member`, or `url`, or `local`"),
        (b'archive = "a", member = "x.jpg"', b'url = "http://host/x"', "is https"),
        (b'sha256 = "0', b'sha256 = "A', "matching regex"),
    ],
)
def test_a_wrong_manifest_is_refused(old, new, message):
    assert parse(GOOD).samples["x.jpg"].bytes == 7
    assert old in GOOD
    with pytest.raises(msgspec.ValidationError, match=message):
        parse(GOOD.replace(old, new))


def test_only_embedders_have_an_embedding_size():
    tree = msgspec.to_builtins(shipped())
    tree["models"]["yunet_2023mar"]["dim"] = 128
    with pytest.raises(msgspec.ValidationError, match="given for embedders, and only for them"):
        msgspec.convert(tree, type=type(shipped()))


def test_detectors_have_a_family_and_what_they_need_is_there():
    tree = msgspec.to_builtins(shipped())
    tree["models"]["mtcnn_onet"]["family"] = "mtcnn"
    with pytest.raises(msgspec.ValidationError, match="`family` is given for detectors, and only for them"):
        msgspec.convert(tree, type=type(shipped()))
    tree = msgspec.to_builtins(shipped())
    del tree["models"]["mtcnn_rnet"]
    with pytest.raises(msgspec.ValidationError, match="model `mtcnn_rnet`, which another needs, is not in"):
        msgspec.convert(tree, type=type(shipped()))
