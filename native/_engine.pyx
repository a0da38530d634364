# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The border to the C engine: checks arguments, releases the GIL, turns errors into exceptions. No arithmetic."""

import os
from collections import namedtuple

import numpy as np

cimport libvultus as c
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc

LayerTime = namedtuple("LayerTime", "kind text group macs seconds")
LayerTime.__module__ = __name__


class ModelFormatError(ValueError):
    """A model file that cannot be used: cut, contradictory, beyond a limit, or (a subclass) not for this engine.

    The message says what is wrong; `offset` is the byte of the file that it is about, None where no byte is to blame.
    """

    def __init__(self, message, offset=None):
        super().__init__(message)
        self.offset = offset

    def __reduce__(self):
        return type(self), (self.args[0], self.offset)


class UnsupportedModelError(ModelFormatError):
    """A model file with an operator, attribute or shape that the engine does not compute; see `_engine.pyi`."""

    remedy = "`pip install 'vultus[onnx]'` lets ONNX Runtime run it (docs/engine.md)"

    def __str__(self):
        return f"{self.args[0]}; {self.remedy}"


cdef object _exception(int status, const c.vultus_error *error, path):
    text = error.text.decode("ascii", "replace")
    offset = None if error.offset == c.VULTUS_NO_OFFSET else error.offset
    if status == c.VULTUS_ERROR_FORMAT:
        return ModelFormatError(f"{path}: {text}", offset)
    if status == c.VULTUS_ERROR_UNSUPPORTED:
        return UnsupportedModelError(f"{path}: {text}", offset)
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


def peak_gflops(isa="auto", threads=1, seconds=0.2):
    """GFLOP/s of independent multiply-adds in registers; see `_engine.pyi`."""
    cdef uint32_t number = _isa_number(isa)
    cdef uint32_t count = _thread_count(threads)
    cdef double duration = seconds
    cdef double peak
    with nogil:
        peak = c.vultus_peak_gflops(number, count, duration)
    if not peak:
        raise ValueError(f"{isa!r} cannot run here, or {threads} threads cannot be started")
    return peak


def build_info():
    """`{"version": str}` of the C library."""
    return {"version": c.vultus_version().decode()}


cdef uint32_t _thread_count(threads) except? 0xffffffff:
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"threads must be an int, not {type(threads).__name__}")
    if not 0 <= threads <= 256:
        raise ValueError(f"threads is {threads}; it must be within 0..256, 0 meaning every usable processor")
    return threads


cdef int _check_profile(batch, rounds) except -1:
    for name, value, most in (("batch", batch, 1024), ("rounds", rounds, 1_000_000)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if not 1 <= value <= most:
            raise ValueError(f"{name} is {value}; it must be within 1..{most}")
    return 0


cdef list _layer_times(const c.vultus_layer_time *times, size_t count):
    return [
        LayerTime(
            times[i].kind.decode(),
            times[i].text.decode(),
            times[i].group if times[i].group >= 0 else None,
            times[i].macs,
            times[i].seconds,
        )
        for i in range(count)
    ]


cdef class _Opened:
    """What an engine and a network have in common: how they are opened, and what they say about that.

    Its `__cinit__` runs before that of the subclass, with the same arguments.
    """

    cdef c.vultus_options _options
    cdef object _path
    cdef bytes _encoded
    cdef dict _normalisation

    def __cinit__(self, path, threads=0, isa="auto", precision=None):
        c.vultus_options_default(&self._options)
        self._options.threads = _thread_count(threads)
        if not isinstance(isa, str):
            raise TypeError(f"isa must be a str, not {type(isa).__name__}")
        self._path = os.fspath(path)
        self._encoded = os.fsencode(self._path)
        if b"\0" in self._encoded:
            raise ValueError("the path holds a NUL byte")
        self._options.isa = _isa_number(isa)
        if precision is not None and precision not in ("fp32", "int8"):
            raise ValueError(f"precision is {precision!r}; it must be 'fp32', 'int8', or None for the file's")
        self._options.precision = {
            None: c.VULTUS_PRECISION_FILE, "fp32": c.VULTUS_PRECISION_FP32, "int8": c.VULTUS_PRECISION_INT8
        }[precision]

    cdef int _says(self, uint32_t threads, uint32_t isa, const double *mean, const double *std, bint bgr) except -1:
        """What the options became, and what pixels become."""
        self._options.threads = threads
        self._options.isa = isa
        self._normalisation = {
            "mean": (mean[0], mean[1], mean[2]),
            "std": (std[0], std[1], std[2]),
            "colour": "bgr" if bgr else "rgb",
        }
        return 0

    @property
    def isa(self):
        return c.vultus_isa_name(self._options.isa).decode()

    @property
    def threads(self):
        return self._options.threads

    @property
    def normalisation(self):
        return dict(self._normalisation)


cdef class Engine(_Opened):
    """A face embedding network, opened and ready. See `_engine.pyi` for the whole description."""

    cdef c.vultus_engine *_engine
    cdef c.vultus_info _info

    def __cinit__(self, *args, **kwargs):
        cdef c.vultus_error error
        cdef c.vultus_engine **engine = &self._engine
        cdef const char *name = self._encoded
        cdef int status
        with nogil:
            status = c.vultus_open(engine, name, &self._options, &error)
        check(status, &error, self._path)
        c.vultus_get_info(self._engine, &self._info)
        self._says(self._info.threads, self._info.isa, self._info.mean, self._info.std, self._info.bgr)

    def __dealloc__(self):
        cdef c.vultus_engine **engine = &self._engine
        if self._engine != NULL:
            with nogil:
                c.vultus_close(engine)

    def __repr__(self):
        return (
            f"<vultus.native.Engine {self._path!r}: {self._info.height} x {self._info.width} -> {self._info.dim}, "
            f"{self.precision}, {self.isa}, {self._info.threads} threads>"
        )

    @property
    def precision(self):
        return "int8" if self._info.precision == c.VULTUS_PRECISION_INT8 else "fp32"

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
    def format(self):
        return self._info.format.decode()

    @property
    def memory(self):
        return {"weights": self._info.weight_bytes, "per_thread": self._info.thread_bytes}

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

    def profile(self, batch=32, rounds=10):
        cdef c.vultus_engine *engine = self._engine
        cdef c.vultus_error error
        cdef c.vultus_layer_time *times
        cdef size_t n, count = 0
        cdef uint32_t repeat
        cdef int status
        _check_profile(batch, rounds)
        n = batch
        repeat = rounds
        check(c.vultus_profile(engine, NULL, n, repeat, NULL, 0, &count, &error), &error, self._path)
        times = <c.vultus_layer_time *>malloc(count * sizeof(c.vultus_layer_time))
        if times == NULL:
            raise MemoryError(f"{count} records of a profile")
        try:
            with nogil:
                status = c.vultus_profile(engine, NULL, n, repeat, times, count, &count, &error)
            check(status, &error, self._path)
            return _layer_times(times, count)
        finally:
            free(times)


cdef class Network(_Opened):
    """A network of any input size and several outputs, such as a detector. See `_engine.pyi`."""

    cdef c.vultus_network *_network
    cdef c.vultus_network_info _info

    def __cinit__(self, *args, **kwargs):
        cdef c.vultus_error error
        cdef c.vultus_network **network = &self._network
        cdef const char *name = self._encoded
        cdef int status
        with nogil:
            status = c.vultus_network_open(network, name, &self._options, &error)
        check(status, &error, self._path)
        c.vultus_network_get_info(self._network, &self._info)
        self._says(self._info.threads, self._info.isa, self._info.mean, self._info.std, self._info.bgr)

    def __dealloc__(self):
        cdef c.vultus_network **network = &self._network
        if self._network != NULL:
            with nogil:
                c.vultus_network_close(network)

    def __repr__(self):
        size = "any size" if self.input_size is None else f"{self._info.height} x {self._info.width}"
        return (
            f"<vultus.native.Network {self._path!r}: {size} -> {self._info.outputs} outputs, {self.isa}, "
            f"{self._info.threads} threads>"
        )

    @property
    def input_size(self):
        return (self._info.height, self._info.width) if self._info.height else None

    @property
    def memory(self):
        cdef c.vultus_network_info info
        cdef c.vultus_network *network = self._network
        with nogil:
            c.vultus_network_get_info(network, &info)
        return {
            "file": info.file_bytes,
            "weights": info.weight_bytes,
            "per_thread": info.thread_bytes,
            "sizes": info.sizes,
            "most_sizes": c.VULTUS_NETWORK_SIZES,
        }

    def outputs(self, size=None):
        """Names and shapes for one image."""
        cdef c.vultus_output output
        cdef c.vultus_error error
        cdef uint32_t height, width, i
        cdef int status
        height, width = self._size(size)
        shapes = {}
        for i in range(self._info.outputs):
            with nogil:
                status = c.vultus_network_output(self._network, height, width, i, &output, &error)
            check(status, &error, self._path)
            shapes[output.name.decode("utf-8", "replace")] = tuple(output.dims[j] for j in range(output.rank))
        return shapes

    def layers(self, size=None):
        """A line for each layer."""
        cdef char text[256]
        cdef c.vultus_error error
        cdef uint32_t height, width
        cdef int status
        height, width = self._size(size)
        lines = []
        while True:
            check(
                c.vultus_network_layer(self._network, height, width, len(lines), text, sizeof(text), &error),
                &error,
                self._path,
            )
            if not text[0]:
                return tuple(lines)
            lines.append((<bytes>text).decode())

    def run(self, x):
        cdef const float[:, :, :, ::1] planes
        cdef const uint8_t[:, :, :, ::1] pixels
        cdef float *places[64]
        cdef float[::1] place
        cdef c.vultus_error error
        cdef const float *from_planes = NULL
        cdef const uint8_t *from_pixels = NULL
        cdef uint32_t height, width
        cdef size_t n
        cdef int status
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x must be a numpy array, not {type(x).__name__}")
        whole = x.dtype == np.float32
        if not whole and x.dtype != np.uint8:
            raise TypeError(f"x has the dtype {x.dtype}; it must be float32 or uint8")
        if x.ndim != 4 or x.shape[1 if whole else 3] != 3:
            wanted = "(n, 3, height, width) as float32" if whole else "(n, height, width, 3) as uint8"
            raise ValueError(f"x has the shape {x.shape}; it must be {wanted}")
        if not x.flags.c_contiguous:
            raise ValueError("x is not C-contiguous; pass numpy.ascontiguousarray(x)")
        n = x.shape[0]
        height, width = self._size(x.shape[2:] if whole else x.shape[1:3])
        for i in range(64): # as many as the engine has at most; NULL is an output that nobody wants
            places[i] = NULL
        answers = {}
        for i, (name, shape) in enumerate(self.outputs((height, width)).items()):
            answers[name] = np.empty((n, *shape), np.float32)
            if n:
                place = answers[name].reshape(-1)
                places[i] = &place[0]
        if not n:
            return answers
        if whole:
            planes = x
            from_planes = &planes[0, 0, 0, 0]
        else:
            pixels = x
            from_pixels = &pixels[0, 0, 0, 0]
        with nogil:
            if from_planes != NULL:
                status = c.vultus_network_run(self._network, from_planes, n, height, width, places, &error)
            else:
                status = c.vultus_network_run_pixels(self._network, from_pixels, n, height, width, places, &error)
        check(status, &error, self._path)
        return answers

    def profile(self, size=None, *, batch=1, rounds=10):
        cdef c.vultus_network *network = self._network
        cdef c.vultus_error error
        cdef c.vultus_layer_time *times
        cdef size_t n, count = 0
        cdef uint32_t height, width, repeat
        cdef int status
        _check_profile(batch, rounds)
        height, width = self._size(size)
        n = batch
        repeat = rounds
        with nogil:
            status = c.vultus_network_profile(network, NULL, n, height, width, repeat, NULL, 0, &count, &error)
        check(status, &error, self._path)
        times = <c.vultus_layer_time *>malloc(count * sizeof(c.vultus_layer_time))
        if times == NULL:
            raise MemoryError(f"{count} records of a profile")
        try:
            with nogil:
                status = c.vultus_network_profile(
                    network, NULL, n, height, width, repeat, times, count, &count, &error
                )
            check(status, &error, self._path)
            return _layer_times(times, count)
        finally:
            free(times)

    def _size(self, size):
        own = self.input_size
        if size is None and own is None:
            raise ValueError("the network has no size of its own; say which: (height, width)")
        height, width = own if size is None else size
        if not (0 < height <= 8192 and 0 < width <= 8192):
            raise ValueError(f"an input of {height} x {width} pixels is outside 1..8192")
        return height, width


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
