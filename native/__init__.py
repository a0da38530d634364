"""The embedding engine, in C: faces in, vectors out; and other networks: pictures in, arrays out.

>>> import numpy as np
>>> from vultus.native import Engine
>>> engine = Engine(model_path, threads=1)
>>> chips = np.zeros((2, *engine.input_size, 3), np.uint8)  # BGR, aligned
>>> engine.embed_chips(chips).shape == (2, engine.dim)
True
"""

from vultus.native._engine import (
    Engine,
    LayerTime,
    ModelFormatError,
    Network,
    UnsupportedModelError,
    build_info,
    cpu_features,
    peak_gflops,
)
from vultus.native._faces import FACE, decode_ultralight, decode_yunet, suppress

__all__ = [
    "FACE",
    "Engine",
    "LayerTime",
    "ModelFormatError",
    "Network",
    "UnsupportedModelError",
    "build_info",
    "cpu_features",
    "decode_ultralight",
    "decode_yunet",
    "peak_gflops",
    "suppress",
]
