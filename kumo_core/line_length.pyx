"""Whether every line of a content keeps to a limit.

Jumps from line end to line end near the limit instead of visiting every line, so the cost does not depend on
the line length that a peer chooses: at most one backward search an octet, no allocation. It does not
remove dots and does not judge line endings. ``kumo.reception`` calls it on mended content and for the
``Allow`` mode; while content arrives ``DataScanner`` measures the lines itself.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from kumo_core.instruction_set cimport passes


def check_line_lengths(data, Py_ssize_t limit):
    """Return the offset of the first line longer than ``limit``, or -1.

    Args:
        data: a contiguous bytes-like object; only read, released before the call returns.
        limit: octets a line may have, its line end not counted. CRLF, a lone LF and a lone CR end a line; so
            does the end of the data.

    Returns:
        The offset of the line's first octet.

    Raises:
        ValueError: the limit is negative.

    Source: RFC 5321 §4.5.3.1.6
    """
    cdef Py_buffer view
    cdef Py_ssize_t start
    if limit < 0:
        raise ValueError(f"a line length limit cannot be negative, got {limit}")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        start = passes.skip_lines(<const unsigned char *> view.buf, 0, view.len, limit)
        return start if view.len - start > limit else -1
    finally:
        PyBuffer_Release(&view)
