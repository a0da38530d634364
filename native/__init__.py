"""The embedding engine: faces in, vectors out, in C.

>>> import numpy as np
>>> from vultus.native import Engine
>>> engine = Engine(model_path, threads=1)
>>> chips = np.zeros((2, *engine.input_size, 3), np.uint8)  # BGR, aligned
>>> engine.embed_chips(chips).shape == (2, engine.dim)
True
"""

from vultus.native._engine import Engine, ModelFormatError, build_info, cpu_features

__all__ = ["Engine", "ModelFormatError", "build_info", "cpu_features"]
