"""Octets in a buffer, and a changed copy of them; header-only, so it has no module of its own."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy

from kumo_core.instruction_set cimport STEP, kumo_change


cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize(const char *octets, Py_ssize_t length) except NULL
    int _PyBytes_Resize(PyObject **octets, Py_ssize_t length) except -1
    char *PyBytes_AS_STRING(PyObject *octets)
    Py_ssize_t PyBytes_GET_SIZE(PyObject *octets)
    void Py_DECREF(PyObject *octets)


cdef enum:
    # Octets from which on room that stays empty is worth a count.
    LARGE = 1 << 20


ctypedef void (*Change)(kumo_change *change) noexcept
ctypedef Py_ssize_t (*Count)(const kumo_change *change) noexcept


cdef inline const unsigned char *octets_between(
    data, Py_ssize_t start, Py_ssize_t end, Py_buffer *view
) except? NULL:
    """Return where ``data[start:end]`` lies.

    Args:
        data: a contiguous bytes-like object.
        start: offset of the first octet.
        end: offset behind the last one.
        view: filled; the caller releases it, unless the call fails.

    Raises:
        ValueError: the offsets are not within the data.
    """
    PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    if 0 <= start <= end <= view.len:
        return <const unsigned char *> view.buf + start
    length = view.len
    PyBuffer_Release(view)
    raise ValueError(f"no octets {start} to {end} in {length}")


cdef inline void keep_freed() noexcept:
    """Let copies be made of memory that was freed before; for modules that make them, when they are loaded.

    The C library (glibc) maps what is larger than anything it has got back. A copy that shrinks before it is
    freed would be mapped anew each time: with its pages, mending 128 KiB took six times as long.
    """
    PyMem_RawFree(PyMem_RawMalloc(3 * LARGE))


cdef inline bytes changed(
    const unsigned char *octets, Py_ssize_t length, Py_ssize_t first, Change change, Count count
):
    """Return a copy with a change made to it.

    Args:
        octets: where something is to be changed; only read.
        length: how many they are.
        first: offset of the first octet that the change touches.
        change: the pass.
        count: counts the octets that the pass inserts; NULL for one that removes.
    """
    cdef kumo_change copy
    cdef PyObject *made
    copy.octets = octets
    copy.length = length
    # Steps begin where lines of the cache do, and not before the octets that they look back at.
    copy.taken = first - <Py_ssize_t> (<uintptr_t> (copy.octets + first) % STEP)
    if copy.taken < 4:
        copy.taken = 0
    copy.made = copy.taken
    if count == NULL:
        copy.room = copy.length
    elif copy.length < LARGE:
        # As much as there can be, for the pages that stay empty cost nothing; a count would cost half as much
        # as the change.
        copy.room = 2 * copy.length + 4 * STEP
    else:
        copy.room = copy.length + count(&copy)
    made = PyBytes_FromStringAndSize(NULL, copy.room)
    copy.to = <unsigned char *> PyBytes_AS_STRING(made)
    memcpy(copy.to, copy.octets, copy.taken)
    change(&copy)
    if copy.made < copy.room:
        # A failure frees the object.
        _PyBytes_Resize(&made, copy.made)
    result = <bytes> made
    Py_DECREF(made)
    return result
