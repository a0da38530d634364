"""From a file as its trainer left it to a file that the engine runs: which importer is the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from vultus.native import Engine, ModelFormatError
from vultus.weights import (
    checkpoint,
    efm3,
    iresnet,
    keras_file,
    keras_net,
    mobilefacenet,
    mtcnn,
    onnx_check,
    ultralight,
)
from vultus.weights.errors import ImportFailed

Family = Literal["MobileFaceNet", "MobileFaceNet-Keras", "iResNet", "Ultra-Light", "MTCNN"]
Suffix = Literal[".bin", ".onnx"]


class Converted(Struct, frozen=True, kw_only=True):
    """What became of a file."""

    family: Family
    data: bytes
    """EFM3 or ONNX, as asked for."""
    graph: bytes | None = None
    """The network as ONNX, where `data` is another writing of it: what the new file has to compute."""


def convert(
    path: Path, suffix: Suffix, *, mean: str | None = None, std: str | None = None, colour: str | None = None
) -> Converted:
    """The network of a PyTorch checkpoint, of a file of Keras, or of a MobileFaceNet in ONNX or EFM3, as EFM3 (`.bin`) or ONNX.

    `mean`, `std` ("127.5", or three numbers with commas) and `colour` ("rgb", "bgr") are how an iResNet or a network of Keras
    was trained, which its file does not say; by default pixels divided by 255, blue first for an iResNet, as MagFace, and
    red first for Keras. The others say or know it.

    Raises ImportFailed for what is neither, for another network, or one that EFM3 cannot express, and
    native.ModelFormatError for a damaged ONNX file.
    """
    with path.open("rb") as file:
        begin = file.read(8)
    if begin[:4] == b"EFM3" and suffix == ".bin":
        raise ImportFailed(f"{path}: an EFM3 file already")
    try:
        if begin[:4] == b"EFM3":
            Engine(path, threads=1)  # whose reader is the one that checks such a file
            graph = mobilefacenet.from_efm3(onnx_check.read(path))
            return Converted(family="MobileFaceNet", data=graph.SerializeToString(deterministic=True))
        if checkpoint.is_checkpoint(begin):
            return _from_checkpoint(path, suffix, mean=mean, std=std, colour=colour)
        if begin == keras_file.SIGNATURE:
            return _from_keras(path, suffix, mean=mean, std=std, colour=colour)
        source = onnx_check.read(path)
        try:
            parsed = onnx_check.parse(source, str(path))
        except ModelFormatError as error:
            if source[:1] == b"\x08":  # ir_version, which every writer of ONNX puts first
                raise
            raise ImportFailed(
                "neither a PyTorch checkpoint (`torch.save(model.state_dict(), ...)`), nor a Keras .h5, ONNX or EFM3 file"
            ) from error
        network = efm3.from_onnx(parsed)
        return Converted(family="MobileFaceNet", data=_mobilefacenet(network, suffix), graph=source)
    except ImportFailed as error:
        raise ImportFailed(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def _from_keras(path: Path, suffix: Suffix, *, mean: str | None, std: str | None, colour: str | None) -> Converted:
    file = keras_file.read(path)
    graph = keras_net.to_onnx(file, mean=mean or "0", std=std or "255", colour=colour or "rgb")
    if suffix == ".onnx":
        return Converted(family="MobileFaceNet-Keras", data=graph)
    data = efm3.pack(efm3.from_onnx(onnx_check.parse(graph, str(path))))
    return Converted(family="MobileFaceNet-Keras", data=data, graph=graph)


def _from_checkpoint(path: Path, suffix: Suffix, *, mean: str | None, std: str | None, colour: str | None) -> Converted:
    weights = checkpoint.read(path)
    if iresnet.prefix_of(weights) is not None:
        _needs_onnx(suffix, "iResNet")
        data = iresnet.to_onnx(weights, mean=mean or "0", std=std or "255", colour=colour or "bgr")
        return Converted(family="iResNet", data=data)
    if (mean, std, colour) != (None, None, None):
        raise ImportFailed("mean, std and colour are told for iResNets; this network's are known")
    if ultralight.is_ultralight(weights):
        _needs_onnx(suffix, "Ultra-Light detector")
        return Converted(family="Ultra-Light", data=ultralight.to_onnx(weights))
    if mtcnn.net_of(weights) is not None:
        _needs_onnx(suffix, "MTCNN network")
        return Converted(family="MTCNN", data=mtcnn.to_onnx(weights))
    if efm3.is_mobilefacenet(weights):
        return Converted(family="MobileFaceNet", data=_mobilefacenet(efm3.from_state(weights), suffix))
    layers = ", ".join(list(weights)[:3])
    raise ImportFailed(
        f"its layers ({layers}, …) are not those of a MobileFaceNet, an iResNet, MTCNN or a slim Ultra-Light "
        "detector; export the network to ONNX"
    )


def _needs_onnx(suffix: Suffix, what: str) -> None:
    if suffix != ".onnx":
        raise ImportFailed(
            f"EFM3 is for MobileFaceNets, and this is an {what}; give the new file a name that ends in .onnx"
        )


def _mobilefacenet(network: efm3.Network, suffix: Suffix) -> bytes:
    if suffix == ".bin":
        return efm3.pack(network)
    return bytes(mobilefacenet.from_network(network).SerializeToString(deterministic=True))
