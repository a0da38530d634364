"""From a published file, checked already, to the file that runs: the importers of the manifest."""

from __future__ import annotations

from vultus.weights import checkpoint, mtcnn, onnx_fold, onnx_heads, ultralight
from vultus.weights.declaration import metadata
from vultus.weights.manifest import Entry


def convert(name: str, entry: Entry, source: bytes) -> bytes:
    """The runtime file of the model `name`, an ONNX graph; it depends on `source` and the entry alone.

    Raises ImportFailed if the file is not what the entry's importer reads.
    """
    if entry.importer == "onnx-fold":
        return onnx_fold.fold(source, metadata=metadata(name, entry), free_size=entry.kind == "detector")
    if entry.importer == "mtcnn":
        return mtcnn.to_onnx(checkpoint.parse(source, name))
    if checkpoint.is_checkpoint(source):
        return ultralight.to_onnx(checkpoint.parse(source, name))
    return onnx_heads.cut(source)
