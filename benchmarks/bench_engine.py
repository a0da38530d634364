"""How many milliseconds a face does the engine take, and how many do ONNX Runtime, OpenVINO and OpenCV?

    python benchmarks/bench_engine.py [MODEL.bin|MODEL.onnx ...] [--generated iresnet100 ...] [--sface SFACE.onnx]
                                      [--threads 1 2] [--batch 1 32] [--json]

Without a model: the paper's MobileFaceNet with random weights. --generated: ResNets with random weights. Every contender
computes the same network on the same faces; their calls are interleaved, so that a slow moment of the machine hits all
of them, and the ratio is the median of the rounds' ratios. A peer that is not installed is left out, and named. Answers
are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import resnet_onnx

from vultus.native import Engine, cpu_features
from vultus.weights import mobilefacenet

Run = Callable[[], np.ndarray]
AGREE = 0.9999  # cosine; a contender that computes something else is not a contender


def ours(path: Path, _: onnx.ModelProto, faces: np.ndarray, threads: int) -> Run:
    engine = Engine(path, threads=threads)
    return lambda: engine.embed(faces)


def onnx_runtime(_: Path, model: onnx.ModelProto, faces: np.ndarray, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: faces})[0]


def _openvino(model: onnx.ModelProto, batch: int, size: tuple[int, ...], threads: int, streams: int):
    import openvino

    core = openvino.Core()
    network = core.read_model(model.SerializeToString())
    network.reshape([batch, *size])
    hint = "THROUGHPUT" if streams > 1 else "LATENCY"
    settings = {"PERFORMANCE_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
    return core.compile_model(network, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})


def openvino_batch(_: Path, model: onnx.ModelProto, faces: np.ndarray, threads: int) -> Run:
    request = _openvino(model, len(faces), faces.shape[1:], threads, 1).create_infer_request()
    return lambda: np.array(request.infer([faces])[0])


def openvino_streams(_: Path, model: onnx.ModelProto, faces: np.ndarray, threads: int) -> Run:
    from openvino import AsyncInferQueue

    queue = AsyncInferQueue(_openvino(model, 1, faces.shape[1:], threads, threads), threads)
    vectors: list[np.ndarray] = [np.empty(0)] * len(faces)
    queue.set_callback(lambda request, i: vectors.__setitem__(i, np.array(request.get_output_tensor(0).data[0])))

    def run() -> np.ndarray:
        for i in range(len(faces)):
            queue.start_async([faces[i : i + 1]], i)
        queue.wait_all()
        return np.stack(vectors)

    return run


def opencv(path: Path, _: onnx.ModelProto, faces: np.ndarray, threads: int) -> Run:
    import cv2

    cv2.setNumThreads(threads)
    recognizer = cv2.FaceRecognizerSF.create(str(path), "")
    chips = np.ascontiguousarray(faces.transpose(0, 2, 3, 1)[..., ::-1].astype(np.uint8))
    return lambda: np.concatenate([recognizer.feature(chip) for chip in chips])


PEERS = {
    "onnxruntime": ("onnxruntime", onnx_runtime),
    "openvino": ("openvino", openvino_batch),
    "openvino streams": ("openvino", openvino_streams),
    "opencv": ("opencv-python-headless", opencv),
}


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def measure(contenders: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, by contender; one call of each in a round, in another order every round."""
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest cosine between rows."""
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a.reshape(len(a), -1), b.reshape(len(b), -1)))
    return float((a * b).sum(1).min())


def bench(
    path: Path, model: onnx.ModelProto, faces: np.ndarray, threads: int, peers: list[str], budget: float
) -> list[dict]:
    contenders = {"vultus": ours(path, model, faces, threads)}
    for name in peers:
        if name != "openvino streams" or threads > 1 < len(faces):
            contenders[name] = PEERS[name][1](path, model, faces, threads)
    expected = contenders["vultus"]()
    for name, run in contenders.items():
        if not similarity(run(), expected) > AGREE:
            sys.exit(f"{name} computes something else than vultus on {path.name}")
    once = sum(values[0] for values in measure(contenders, 1).values())
    seconds = measure(contenders, max(7, min(200, int(budget / once))))
    return [
        {
            "model": path.name,
            "threads": threads,
            "batch": len(faces),
            "contender": name,
            "ms_a_face": statistics.median(values) / len(faces) * 1e3,
            "ms_a_face_best": min(values) / len(faces) * 1e3,
            "times_vultus": statistics.median(v / o for v, o in zip(values, seconds["vultus"], strict=True)),
            "rounds": len(values),
        }
        for name, values in seconds.items()
    ]


def conditions(seed: int, peers: dict[str, str | None]) -> dict:
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    features = [name for name, there in cpu_features()["features"].items() if there]
    return {
        "machine": platform.machine(),
        "processor": names[0] if names else platform.processor(),
        "processors": len(names),
        "features": features,
        "load": Path("/proc/loadavg").read_text().split()[0] if cpuinfo else None,
        "python": platform.python_version(),
        "seed": seed,
        "versions": {"vultus": version("vultus"), **{peer: found or "not installed" for peer, found in peers.items()}},
    }


def for_peers(path: Path) -> onnx.ModelProto:
    """The network of a model file as ONNX, with a batch of any size."""
    data = path.read_bytes()
    model = mobilefacenet.from_efm3(data) if data[:4] == b"EFM3" else onnx.load_from_string(data)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]
    targets = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    constants = [(node.output[0], node.attribute[0].t) for node in model.graph.node if node.op_type == "Constant"]
    for name, tensor in [*constants, *((tensor.name, tensor) for tensor in model.graph.initializer)]:
        if name in targets and (shape := onnx.numpy_helper.to_array(tensor).copy())[0] == 1:
            shape[0] = 0  # exported for one face: as many as come in
            tensor.CopyFrom(onnx.numpy_helper.from_array(shape, tensor.name))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL")
    parser.add_argument(
        "--generated",
        nargs="+",
        default=[],
        choices=list(resnet_onnx.GENERATED),
        metavar="NAME",
        help="ResNets with random weights: " + ", ".join(resnet_onnx.GENERATED),
    )
    parser.add_argument(
        "--sface", type=Path, help="SFace in ONNX, FP32; OpenCV's FaceRecognizerSF takes part in this one"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--seconds", type=float, default=8.0, help="for each combination of model, threads and batch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rand = np.random.default_rng(args.seed)
    packages = {package: version(package) for package, _ in PEERS.values()}
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        if not args.models and not args.sface and not args.generated:
            args.models = [Path(folder) / "mobilefacenet_random.onnx"]
            onnx.save(mobilefacenet.random(rand), args.models[0])
        for name in args.generated:
            args.models.append(Path(folder) / f"{name}_random.onnx")
            onnx.save(resnet_onnx.GENERATED[name](rand), args.models[-1])
        for path in [*args.models, *([args.sface] if args.sface else [])]:
            model = for_peers(path)
            peers = [name for name, (package, _) in PEERS.items() if packages[package]]
            if path != args.sface:
                peers = [name for name in peers if name != "opencv"]
            size = Engine(path, threads=1).input_size
            pixels = rand.integers(0, 256, (max(args.batch), 3, *size)).astype(np.float32)
            faces = pixels if path == args.sface else (pixels - np.float32(127.5)) / np.float32(128)
            for threads in args.threads:
                for batch in args.batch:
                    rows += bench(path, model, np.ascontiguousarray(faces[:batch]), threads, peers, args.seconds)
    result = {"conditions": conditions(args.seed, packages), "results": rows}
    print(json.dumps(result) if args.json else text(result))


def text(result: dict) -> str:
    lines = [f"{key}: {value}" for key, value in result["conditions"].items()]
    lines.append("\nmodel                          threads batch contender          ms/face    best  times vultus")
    lines += [
        f"{r['model']:<30} {r['threads']:>7} {r['batch']:>5} {r['contender']:<16} {r['ms_a_face']:>7.2f} "
        f"{r['ms_a_face_best']:>7.2f} {r['times_vultus']:>13.2f}"
        for r in result["results"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
