"""Models that a user brings: their manifest, what is written behind a file, and licences that have to be accepted."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from vultus.native import Engine
from vultus.weights import FetchFailed, LicenceNotAccepted, ModelRefused, Registry, UnknownModel, mobilefacenet
from vultus.weights.declaration import record
from vultus.weights.manifest import Digest, Entry, Manifest, Source, shipped

NAME = "mine"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random MobileFaceNet that does not say how it wants its pixels."""
    model = mobilefacenet.random(np.random.default_rng(1))
    del model.metadata_props[:]
    path = tmp_path_factory.mktemp("mine") / 'a "file" ü.onnx'
    path.write_bytes(model.SerializeToString())
    return path


def entry(path: Path, **changes: object) -> Entry:
    data = path.read_bytes()
    return Entry(
        **{
            "title": 'Mine: "quoted", \\ and ü',
            "kind": "embedder",
            "licence": "MIT",
            "commercial": True,
            "origin": "here",
            "input_size": (112, 112),
            "colour": "bgr",
            "mean": (1.0, 2.0, 3.5),
            "std": (128.0, 128.0, 128.0),
            "dim": 128,
            "alignment": "arcface_112",
            "threshold": 0.25,
            "importer": "declared",
            "source": Digest(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),
            "sources": (Source(local=str(path)),),
            **changes,
        }
    )


def test_an_added_model_is_one_like_the_others(tmp_path, published):
    added = Registry(tmp_path).add(NAME, entry(published), published)
    registry = Registry(tmp_path)
    model = registry.resolve(NAME, "embedder")
    assert model == added
    assert registry.entry(NAME) == entry(published)
    assert registry.names()[-1] == NAME
    assert registry.known(entry(published).source.sha256) == NAME
    says = Engine(model.path, threads=1).normalisation
    assert says == {"mean": (1.0, 2.0, 3.5), "std": (128.0, 128.0, 128.0), "colour": "bgr"}
    state = registry.state(NAME)
    assert (state.state, state.own, state.accepted, state.sources) == ("ok", True, True, (f"local file {published}",))
    with pytest.raises(ModelRefused, match="called mine already"):
        registry.add(NAME, entry(published), published)
    with pytest.raises(ModelRefused, match="called sface_2021dec already"):
        registry.add("sface_2021dec", entry(published), published)


def test_a_changed_file_does_not_run_and_comes_back_from_where_it_was(tmp_path, published):
    registry = Registry(tmp_path)
    path = registry.add(NAME, entry(published), published).path
    whole = path.read_bytes()
    for at in (len(whole) // 2, len(whole) - 3):  # in the weights, in the normalisation
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ModelRefused, match="`vultus models pull mine` fetches the right one"):
            registry.resolve(NAME)
    path.unlink()
    assert Registry(tmp_path).pull([NAME])[0].path.read_bytes() == whole


def test_the_fingerprint_is_of_file_and_normalisation(tmp_path, published):
    first = Registry(tmp_path / "a").add(NAME, entry(published), published)
    again = Registry(tmp_path / "b").add(NAME, entry(published), published)
    other = Registry(tmp_path / "c").add(NAME, entry(published, colour="rgb"), published)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_removed_model_is_forgotten(tmp_path, published):
    registry = Registry(tmp_path)
    path = registry.add(NAME, entry(published), published).path
    registry.remove(NAME)
    assert not path.exists()
    with pytest.raises(UnknownModel):
        registry.entry(NAME)
    with pytest.raises(UnknownModel):
        registry.remove(NAME)


def test_no_commercial_use_is_accepted_first_and_again_if_the_licence_changes(tmp_path, published):
    strict = entry(published, licence="Research only", commercial=False)
    registry = Registry(tmp_path)
    registry.add(NAME, strict, published)
    for call in (lambda: registry.resolve(NAME), lambda: registry.pull([NAME])):
        with pytest.raises(
            LicenceNotAccepted, match=r"Research only \(here\): not for commercial use.*--accept-licence"
        ):
            call()
    registry.accept(NAME)
    assert Registry(tmp_path).resolve(NAME).name == NAME
    registry._own.add(NAME, msgspec.structs.replace(strict, licence="Research only, and on Sundays"))
    with pytest.raises(LicenceNotAccepted):
        Registry(tmp_path).resolve(NAME)


def test_a_file_that_nobody_passes_on_comes_from_a_folder(tmp_path, published):
    brought = tmp_path / "w.onnx"
    brought.write_bytes(published.read_bytes())
    manifest = Manifest(format=1, models={NAME: entry(brought, sources=(Source(local="w.onnx"),))})
    registry = Registry(tmp_path / "data", manifest)
    with pytest.raises(
        FetchFailed,
        match=r"a local w.onnx is taken from the folder that you name.*`vultus models pull mine --from DIR`",
    ):
        registry.pull([NAME])
    assert registry.pull([NAME], from_dir=tmp_path)[0].path.read_bytes()[:-1].startswith(brought.read_bytes())


@pytest.mark.parametrize("text", ["format = 2", "format = 1\n[models.x]\ntitle = 'x'", "][", "x" * 5_000_000])
def test_a_damaged_manifest_of_the_user_is_named(tmp_path, text):
    path = tmp_path / "models" / "manifest.toml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ModelRefused, match=r"manifest\.toml: .*move it away"):
        Registry(tmp_path).names()


def test_what_is_written_behind_a_file_is_metadata():
    model = onnx.load_from_string(record({"vultus.mean": "1,2,3", "long": "x" * 300}))
    assert {one.key: one.value for one in model.metadata_props} == {"vultus.mean": "1,2,3", "long": "x" * 300}


def test_models_that_forbid_commercial_use_ship_without_a_source_of_their_own():
    for found in shipped().models.values():
        assert found.commercial or all(source.local for source in found.sources)
