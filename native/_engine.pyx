# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The border to the C engine: checks arguments, releases the GIL, turns errors into exceptions. No arithmetic."""

import os

import numpy as np

cimport libvultus as c
from libc.stdint cimport uint8_t, uint32_t


class ModelFormatError(ValueError):
    """A model file that cannot be used: cut, contradictory, beyond a limit, or with an operator of another engine.

    The message says what is wrong; `offset` is the byte of the file that it is about, None where no byte is to blame.
    """

    def __init__(self, message, offset=None):
        super().__init__(message)
        self.offset = offset

    def __reduce__(self):
        return type(self), (self.args[0], self.offset)


cdef object _exception(int status, const c.vultus_error *error, path):
    text = error.text.decode("ascii", "replace")
    offset = None if error.offset == c.VULTUS_NO_OFFSET else error.offset
    if status == c.VULTUS_ERROR_FORMAT or status == c.VULTUS_ERROR_UNSUPPORTED:
        return ModelFormatError(f"{path}: {text}", offset)
    if status == c.VULTUS_ERROR_IO:
        return OSError(error.sys_errno, os.strerror(error.sys_errno), path)
    if status == c.VULTUS_ERROR_MEMORY:
        return MemoryError(text)
    if status == c.VULTUS_ERROR_ARGUMENT or status == c.VULTUS_ERROR_ISA:
        return ValueError(text)
    return RuntimeError(text)


cdef int check(int status, const c.vultus_error *error, path) except -1:
    if status:
        raise _exception(status, error, path)
    return 0


cdef uint32_t _isa_number(isa) except? 0xffffffff:
    if isa == "auto":
        return c.VULTUS_ISA_AUTO
    names = _isa_names()
    if isa not in names:
        raise ValueError(f"isa is {isa!r}; it must be one of 'auto', " + ", ".join(repr(name) for name in names))
    return names[isa]


cdef dict _isa_names():
    names = {}
    number = 1
    while c.vultus_isa_name(number) != NULL:
        names[c.vultus_isa_name(number).decode()] = number
        number += 1
    return names


def cpu_features():
    """What this processor, with its operating system, offers and what this build can use of it.

    Returns `{"features": {"avx2": bool, ...}, "isas": {"scalar": "usable", "avx2": "usable" | "not on this processor" |
    "not in this build"}}`.
    """
    flags = c.vultus_cpu_features()
    bits = {
        "avx": c.VULTUS_CPU_AVX,
        "fma": c.VULTUS_CPU_FMA,
        "avx2": c.VULTUS_CPU_AVX2,
        "avx_vnni": c.VULTUS_CPU_AVX_VNNI,
        "avx512": c.VULTUS_CPU_AVX512,
        "avx512_vnni": c.VULTUS_CPU_AVX512_VNNI,
        "neon": c.VULTUS_CPU_NEON,
    }
    words = {1: "usable", 0: "not in this build", -1: "not on this processor"}
    return {
        "features": {name: bool(flags & bit) for name, bit in bits.items()},
        "isas": {name: words[c.vultus_isa_usable(number)] for name, number in _isa_names().items()},
    }


def build_info():
    """`{"version": str}` of the C library."""
    return {"version": c.vultus_version().decode()}


cdef class Engine:
    """A face embedding network, opened and ready. See `_engine.pyi` for the whole description."""

    cdef c.vultus_engine *_engine
    cdef c.vultus_info _info
    cdef object _path

    def __cinit__(self, path, threads=0, isa="auto"):
        cdef c.vultus_options options
        cdef c.vultus_error error
        cdef c.vultus_engine **engine = &self._engine
        cdef const char *name
        cdef int status
        if not isinstance(threads, int) or isinstance(threads, bool):
            raise TypeError(f"threads must be an int, not {type(threads).__name__}")
        if not 0 <= threads <= 256:
            raise ValueError(f"threads is {threads}; it must be within 0..256, 0 meaning every usable processor")
        if not isinstance(isa, str):
            raise TypeError(f"isa must be a str, not {type(isa).__name__}")
        self._path = os.fspath(path)
        encoded = os.fsencode(self._path)
        if b"\0" in encoded:
            raise ValueError("the path holds a NUL byte")
        name = encoded
        c.vultus_options_default(&options)
        options.threads = threads
        options.isa = _isa_number(isa)
        with nogil:
            status = c.vultus_open(engine, name, &options, &error)
        check(status, &error, self._path)
        c.vultus_get_info(self._engine, &self._info)

    def __dealloc__(self):
        cdef c.vultus_engine **engine = &self._engine
        if self._engine != NULL:
            with nogil:
                c.vultus_close(engine)

    def __repr__(self):
        return (
            f"<vultus.native.Engine {self._path!r}: {self._info.height} x {self._info.width} -> {self._info.dim}, "
            f"{self.isa}, {self._info.threads} threads>"
        )

    @property
    def dim(self):
        return self._info.dim

    @property
    def input_size(self):
        return self._info.height, self._info.width

    @property
    def layers(self):
        return tuple(c.vultus_layer(self._engine, i).decode() for i in range(self._info.layers))

    @property
    def isa(self):
        return c.vultus_isa_name(self._info.isa).decode()

    @property
    def threads(self):
        return self._info.threads

    @property
    def format(self):
        return self._info.format.decode()

    @property
    def memory(self):
        return {"weights": self._info.weight_bytes, "per_thread": self._info.thread_bytes}

    @property
    def normalisation(self):
        return {
            "mean": (self._info.mean[0], self._info.mean[1], self._info.mean[2]),
            "std": (self._info.std[0], self._info.std[1], self._info.std[2]),
            "colour": "bgr" if self._info.bgr else "rgb",
        }

    def embed(self, x, *, normalize=True):
        cdef const float[:, :, :, ::1] faces
        cdef float[:, ::1] vectors
        cdef c.vultus_error error
        cdef const float *source = NULL
        cdef float *target = NULL
        cdef uint32_t flags = 0 if normalize else c.VULTUS_EMBED_RAW
        cdef size_t n
        cdef int status
        _check_array("x", x, np.float32, (3, self._info.height, self._info.width))
        y = np.empty((x.shape[0], self._info.dim), np.float32)
        n = x.shape[0]
        if n:
            faces = x
            vectors = y
            source = &faces[0, 0, 0, 0]
            target = &vectors[0, 0]
        with nogil:
            status = c.vultus_embed(self._engine, source, n, flags, target, &error)
        check(status, &error, self._path)
        return y

    def embed_chips(self, chips, *, normalize=True):
        cdef const uint8_t[:, :, :, ::1] faces
        cdef float[:, ::1] vectors
        cdef c.vultus_error error
        cdef const uint8_t *source = NULL
        cdef float *target = NULL
        cdef uint32_t flags = 0 if normalize else c.VULTUS_EMBED_RAW
        cdef size_t n
        cdef int status
        _check_array("chips", chips, np.uint8, (self._info.height, self._info.width, 3))
        y = np.empty((chips.shape[0], self._info.dim), np.float32)
        n = chips.shape[0]
        if n:
            faces = chips
            vectors = y
            source = &faces[0, 0, 0, 0]
            target = &vectors[0, 0]
        with nogil:
            status = c.vultus_embed_chips(self._engine, source, n, flags, target, &error)
        check(status, &error, self._path)
        return y


cdef int _check_array(name, array, dtype, shape) except -1:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, not {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} has the dtype {array.dtype}; it must be {np.dtype(dtype)}")
    if array.ndim != 4 or array.shape[1:] != shape:
        wanted = ", ".join(str(side) for side in shape)
        raise ValueError(f"{name} has the shape {array.shape}; it must be (n, {wanted})")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} is not C-contiguous; pass numpy.ascontiguousarray({name})")
    return 0
