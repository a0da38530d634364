"""How many photos a second does `vultus index` take in, against the plain loop that a user would write?

The plain loop is one process: `cv2.imread`, `FaceDetectorYN` at the photo's size, `FaceRecognizerSF.alignCrop` and
`.feature`, vectors and names to a file at the end. Same models, same photos, both timed as whole processes from start to
exit, in turns; the ratio is the median over the pairs of runs. Run it on a folder of your own:

    python benchmarks/bench_index.py FOLDER [--rounds 3] [--limit 500] [--json]

Without a folder it makes one of `--limit` photos from the sample photographs (scaled, shifted and re-encoded by a seed).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from vultus.configs.loader import data_folder
from vultus.weights import Registry, Samples

PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}

PLAIN_LOOP = r"""
import sys
from pathlib import Path
import cv2, numpy as np
detector_file, embedder_file, folder, out = sys.argv[1:]
detector = cv2.FaceDetectorYN.create(detector_file, "", (320, 320), 0.7, 0.3, 5000)
embedder = cv2.FaceRecognizerSF.create(embedder_file, "")
names, vectors = [], []
for path in sorted(Path(folder).rglob("*")):
    image = cv2.imread(str(path))
    if image is None:
        continue
    detector.setInputSize((image.shape[1], image.shape[0]))
    faces = detector.detect(image)[1]
    for face in faces if faces is not None else ():
        vectors.append(embedder.feature(embedder.alignCrop(image, face)).copy())
        names.append(str(path))
np.savez(out, names=names, vectors=np.concatenate(vectors))
print(len(vectors))
"""


def make_photos(folder: Path, count: int, seed: int) -> None:
    """`count` different JPEGs out of the sample photographs."""
    rand = np.random.default_rng(seed)
    originals = [Image.open(path).convert("RGB") for path in sorted(Samples(data_folder()).pull().glob("*.jpg"))]
    for number in range(count):
        picture = originals[number % len(originals)]
        side = int(rand.integers(640, 1600))
        scale = side / max(picture.size)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        canvas = Image.new("RGB", (picture.width + 120, picture.height + 120), tuple(rand.integers(0, 256, 3).tolist()))
        canvas.paste(picture, (int(rand.integers(0, 120)), int(rand.integers(0, 120))))
        canvas.save(folder / f"photo-{number:04d}.jpg", quality=int(rand.integers(80, 96)))


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds of a whole process, and its standard output."""
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout


def opencv_files(data: Path) -> tuple[str, str]:
    """The two default models as files that OpenCV 4's dnn reads."""
    registry = Registry(data)
    registry.pull(["yunet_2023mar", "sface_2021dec"])
    return str(registry.resolve("yunet_2023mar").path), str(registry.resolve("sface_2021dec").path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=300, help="photos taken of the folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        photos = work / "photos"
        photos.mkdir()
        if options.folder is None:
            make_photos(photos, options.limit, options.seed)
        else:
            found = (path for path in sorted(options.folder.rglob("*")) if path.suffix.lower() in PHOTOS)
            for number, path in enumerate(itertools.islice(found, options.limit)):
                (photos / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
        report = measure(photos, work, options.rounds, options.seed)
    print(json.dumps(report) if options.json else text(report))


def measure(photos: Path, work: Path, rounds: int, seed: int) -> dict[str, object]:
    """Pairs of runs in turns; seconds of each, and what each found."""
    count = sum(1 for _ in photos.iterdir())
    models = opencv_files(data_folder())
    ours, plain, faces = [], [], (0, 0)
    vultus = [sys.executable, "-m", "vultus.cli.entry"]
    for number in range(rounds):
        gallery = work / f"gallery-{number}"
        seconds, printed = timed([*vultus, "index", str(photos), "--gallery", str(gallery), "--json"])
        ours.append(seconds)
        found = json.loads(printed.splitlines()[-1])["faces"]
        seconds, printed = timed([sys.executable, "-c", PLAIN_LOOP, *models, str(photos), str(work / "plain.npz")])
        plain.append(seconds)
        faces = (found, int(printed))
    return {
        "machine": platform.processor() or platform.machine(),
        "cpu": cpu_name(),
        "processors": len(os.sched_getaffinity(0)),
        "peer": "opencv-python-headless " + importlib.metadata.version("opencv-python-headless"),
        "seed": seed,
        "photos": count,
        "vultus_seconds": ours,
        "plain_seconds": plain,
        "vultus_faces": faces[0],
        "plain_faces": faces[1],
        "vultus_photos_per_second": count / statistics.median(ours),
        "plain_photos_per_second": count / statistics.median(plain),
        "ratio": statistics.median(b / a for a, b in zip(ours, plain, strict=True)),
    }


def cpu_name() -> str:
    """Model name and the instruction sets that matter here."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    known = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni")
    flags = [flag for flag in known if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', 'unknown')} [{' '.join(flags)}]"


def text(report: dict[str, object]) -> str:
    """The report for a person."""
    return "\n".join(
        [
            f"{report['cpu']}, {report['processors']} processors; peer {report['peer']}; seed {report['seed']}",
            f"{report['photos']} photos, whole processes, in turns",
            f"vultus index  {report['vultus_photos_per_second']:7.1f} photos/s  {report['vultus_faces']} faces",
            f"plain loop    {report['plain_photos_per_second']:7.1f} photos/s  {report['plain_faces']} faces",
            f"ratio         {report['ratio']:7.2f}  (median over pairs)",
        ]
    )


if __name__ == "__main__":
    main()
