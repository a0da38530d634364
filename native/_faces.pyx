# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The border to the engine's decoding of detectors: checks arguments, releases the GIL. No arithmetic. See `_faces.pyi`."""

import numpy as np

cimport libvultus as c
from libc.stdint cimport uint32_t

FACE = np.dtype([("box", np.float32, 4), ("score", np.float32), ("landmarks", np.float32, (5, 2)), ("place", np.uint32)])
_STRIDES = (8, 16, 32)


cdef int check(int status, const c.vultus_error *error) except -1:
    if status:
        raise ValueError(error.text.decode("ascii", "replace"))
    return 0


def _numbers(array, name, size_t count):
    """Flat and of that length, or an error that names it."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        raise TypeError(f"{name} is no numpy array of float32")
    if array.size != count or not array.flags.c_contiguous:
        raise ValueError(f"{name} is {array.shape}; it must be C-contiguous and hold {count} numbers")
    return array.reshape(-1)


def _sides(size):
    height, width = size
    if not (1 <= height <= 8192 and 1 <= width <= 8192):
        raise ValueError(f"{height} x {width} pixels are outside 1..8192")
    return height, width


def decode_yunet(heads, size, float score, size_t most=5000):
    cdef const float[::1] view
    cdef const float *places[12]
    cdef c.vultus_error error
    cdef uint32_t height, width
    cdef size_t found = 0
    cdef unsigned char[::1] room
    cdef c.vultus_face *faces = NULL
    cdef int status
    height, width = _sides(size)
    kept = []
    for i, (head, channels) in enumerate((("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))):
        for j, stride in enumerate(_STRIDES):
            name = f"{head}_{stride}"
            if name not in heads:
                raise ValueError(f"there is no head {name}")
            array = _numbers(heads[name], name, (height // stride) * (width // stride) * channels)
            kept.append(array)
            view = array
            places[3 * i + j] = &view[0] if view.shape[0] else NULL
    out = np.empty(min(most, (height // 8) * (width // 8) * 2), FACE)
    if out.size:
        room = out.view(np.uint8)
        faces = <c.vultus_face *>&room[0]
    cdef size_t capacity = out.size
    with nogil:
        status = c.vultus_decode_yunet(places, height, width, score, faces, capacity, &found, &error)
    check(status, &error)
    return out[:found]


def decode_ultralight(scores, locations, size, float score, size_t most=5000):
    cdef c.vultus_error error
    cdef uint32_t height, width
    cdef size_t found = 0
    cdef unsigned char[::1] room
    cdef c.vultus_face *faces = NULL
    cdef int status
    height, width = _sides(size)
    cdef size_t rows = c.vultus_ultralight_rows(height, width)
    cdef const float[::1] of_faces = _numbers(scores, "scores", 2 * rows)
    cdef const float[::1] places = _numbers(locations, "locations", 4 * rows)
    out = np.empty(min(most, rows), FACE)
    if out.size:
        room = out.view(np.uint8)
        faces = <c.vultus_face *>&room[0]
    cdef size_t capacity = out.size
    with nogil:
        status = c.vultus_decode_ultralight(&of_faces[0], &places[0], height, width, score, faces, capacity, &found,
                                            &error)
    check(status, &error)
    return out[:found]


def suppress(faces, float iou):
    cdef c.vultus_error error
    cdef size_t kept = 0, n
    cdef unsigned char[::1] room
    cdef c.vultus_face *all = NULL
    cdef int status
    if not isinstance(faces, np.ndarray) or faces.dtype != FACE or faces.ndim != 1:
        raise TypeError("faces is no one-dimensional numpy array of vultus.native.FACE")
    out = faces.copy()
    n = out.size
    if n:
        room = out.view(np.uint8)
        all = <c.vultus_face *>&room[0]
    with nogil:
        status = c.vultus_suppress(all, n, iou, &kept, &error)
    check(status, &error)
    return out[:kept]
