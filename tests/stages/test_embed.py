"""The length of an embedding as the quality of the face, for models that say it so."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from vultus.configs.schema import Config, Models
from vultus.native import Engine
from vultus.pipeline.chain import Chain
from vultus.pipeline.messages import Chips, Embedded, Face, Origin, TrackedFace
from vultus.stages.embed import Embed
from vultus.weights import Registry, mobilefacenet
from vultus.weights.manifest import Digest, Entry, Source


@pytest.mark.parametrize("says", [True, False])
def test_quality_is_the_length_where_the_model_says_so(tmp_path: Path, rand: np.random.Generator, says: bool) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(mobilefacenet.random(rand).SerializeToString())
    chips = rand.integers(0, 256, (3, 112, 112, 3), np.uint8)
    lengths = np.linalg.norm(Engine(file, threads=1).embed_chips(chips, normalize=False), axis=1)
    low, high = float(lengths.min()), float(2 * lengths.max())
    data = file.read_bytes()
    entry = Entry(
        title="random",
        kind="embedder",
        licence="MIT",
        commercial=True,
        origin="here",
        input_size=(112, 112),
        colour="rgb",
        mean=(127.5,) * 3,
        std=(128.0,) * 3,
        dim=128,
        alignment="arcface_112",
        magnitude=(low, high) if says else None,
        importer="onnx",
        source=Digest(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),
        sources=(Source(local=str(file)),),
    )
    Registry(tmp_path).add("mag", entry, file)
    face = Face(box=(0, 0, 50, 50), landmarks=((1, 1), (2, 1), (1, 2), (1, 3), (2, 3)), score=0.9)
    faces = tuple(TrackedFace(face=face, track=number, quality=0.5) for number in range(3))
    origin = Origin(item=0, attempt=0, source="p", seq=0, live=False, time=0.0, still=True)
    config = msgspec.structs.replace(Config(), models=Models(embedder="mag"))
    with Chain([Embed(config, tmp_path)]) as chain:
        (message,) = chain.process([Chips(origin=origin, faces=faces, chips=chips)])
    assert isinstance(message, Embedded)
    np.testing.assert_allclose(np.linalg.norm(message.vectors, axis=1), 1, rtol=1e-6)
    if says:
        np.testing.assert_allclose([one.magnitude for one in message.faces], lengths, rtol=1e-5)
        wanted = np.clip((lengths - low) / (high - low), 0, 1)
        np.testing.assert_allclose([one.quality for one in message.faces], wanted, rtol=1e-4, atol=1e-6)
    else:
        assert [(one.quality, one.magnitude) for one in message.faces] == [(0.5, None)] * 3
