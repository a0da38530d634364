"""How fast and how surely does the gallery find people, beside bare FAISS, hnswlib and USearch?

    python benchmarks/bench_gallery.py [--faces 100000] [--dim 512] [--index flat,auto] [--like GALLERY] [--json]

Exactly `vultus bench gallery`, which says the rest with `--help`.
"""

from __future__ import annotations

import sys

from vultus.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "gallery", *sys.argv[1:]]))
