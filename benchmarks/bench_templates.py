"""What should several faces of one person become? The best of them, their mean, or their mean weighted by quality.

    python benchmarks/bench_templates.py LFW [--embedder NAME] [--least 4] [--json]

LFW is a folder of NAME/NAME_0001.jpg. Of everybody with at least so many photographs the first three are in the gallery and
the others are probes; people with fewer are strangers, one photograph of each. FNIR at FPIR 1e-1 and 1e-2, with the
difference from the best face, which is what a gallery goes by, and its 95% interval from drawing people anew, the same
drawings for all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

import numpy as np

from vultus.cli.evaluate_faces import FaceReader
from vultus.configs import data_folder
from vultus.configs.schema import Config, Models
from vultus.evaluation.identification import Fusion, fnir_drawn, identification, search
from vultus.evaluation.trials import interval
from vultus.evaluation.work import WorkFile

WANTED = (1e-1, 1e-2)
ENROLLED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--embedder", default=Models().embedder)
    parser.add_argument("--least", type=int, default=4)
    parser.add_argument("--work", type=Path, default=Path("build/accuracy.work"), help="keeps faces and vectors")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    folders = [sorted(folder.glob("*.jpg")) for folder in sorted(given.lfw.iterdir()) if folder.is_dir()]
    photos, owners, enrolled = [], [], []
    for number, folder in enumerate(folders):
        known = len(folder) >= max(given.least, ENROLLED + 1)
        for at, path in enumerate(folder if known else folder[:1]):
            photos.append(path)
            owners.append(number)
            enrolled.append(known and at < ENROLLED)
    config = Config(models=Models(embedder=given.embedder))
    with WorkFile(given.work) as work, FaceReader(config, data_folder(), work) as reader:
        judged = reader.judged(photos, lambda _done, _all: None)
    who, kept = np.array(owners), np.array(enrolled)
    quality = np.array([look.grade.quality if look else 0.0 for look in judged.looks])
    gallery = judged.vectors[kept], who[kept], quality[kept]
    rows, baseline = [], None
    for fusion in get_args(Fusion):
        searches = search(gallery, (judged.vectors[~kept], who[~kept]), fusion)
        found = identification(searches, len(np.unique(who[kept])), WANTED, rounds=1)
        drawn = fnir_drawn(searches, WANTED)
        baseline = drawn if baseline is None else baseline
        rows.append(
            {
                "fusion": fusion,
                "people": found.people,
                "mated": found.mated,
                "strangers": found.non_mated,
                "fnir": {one.fpir: one.fnir for one in found.fnir},
                "difference": [interval(column) for column in (drawn - baseline).T],
                "first": found.cmc[0][1],
            }
        )
    if given.json:
        print(json.dumps(rows))
        return
    print(f"{rows[0]['people']} people, {rows[0]['mated']} probes of them, {rows[0]['strangers']} strangers")
    for row in rows:
        rates = zip(row["fnir"].values(), row["difference"], strict=True)
        print(
            f"{row['fusion']:10}" + "  ".join(f"{rate:.2%} ({low:+.2%} to {high:+.2%})" for rate, (low, high) in rates)
        )


if __name__ == "__main__":
    main()
