"""Octets for several sockets: one system call for each, or one for all of them.

A reply that is written wakes its reader, which on the same processor runs as soon as the system call is
over. What it saves to have all replies of a turn in one call, and what that costs where no reader is waiting
for this processor, stands in docs/decisions/0005-compiled-session.md. Called by ``Outbox``, which chooses.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef extern from "_sending.h":
    enum:
        KUMO_TOGETHER

    ctypedef struct kumo_parcel:
        int descriptor
        const char *octets
        size_t length
        size_t sent

    void kumo_send_each(kumo_parcel *parcels, long count)
    void kumo_send_together(kumo_parcel *parcels, long count)
    long kumo_involuntary_switches()

ctypedef void (*way_of_sending)(kumo_parcel *parcels, long count)


cpdef list send_each(list descriptors, list contents):
    """Send octets to sockets, one after the other, as far as they take them without waiting.

    Args:
        descriptors: of non-blocking stream sockets, open for as long as the call lasts.
        contents: the octets for each, as ``bytes``; only read.

    Returns:
        For each, what was not sent: all of it where the socket is full or its connection gone, which is for
        whoever owns the socket to find out; nearly always nothing.

    Raises:
        ValueError: the lists are not equally long.

    Source: send(2)
    """
    return _send(descriptors, contents, kumo_send_each)


cpdef list send_together(list descriptors, list contents):
    """Do what ``send_each`` does, by one system call for each 64 of them where the system has one.

    Source: io_submit(2)
    """
    return _send(descriptors, contents, kumo_send_together)


cpdef long involuntary_switches():
    """Return how often something else ran on the processor while this thread could have gone on.

    Returns:
        A number that only grows; 0 for ever where the system does not count by thread.

    Source: getrusage(2), RUSAGE_THREAD
    """
    return kumo_involuntary_switches()


cdef list _send(list descriptors, list contents, way_of_sending send):
    cdef kumo_parcel parcels[KUMO_TOGETHER]
    cdef Py_ssize_t count = len(descriptors)
    cdef Py_ssize_t first = 0
    cdef Py_ssize_t many, place
    cdef bytes octets
    cdef list rests = []
    if len(contents) != count:
        raise ValueError(f"{count} descriptors for {len(contents)} contents")
    while first < count:
        many = min(count - first, <Py_ssize_t> KUMO_TOGETHER)
        for place in range(many):
            octets = contents[first + place]
            if octets is None:
                raise TypeError("octets must be bytes, not None")
            parcels[place].descriptor = descriptors[first + place]
            parcels[place].octets = PyBytes_AS_STRING(octets)
            parcels[place].length = PyBytes_GET_SIZE(octets)
        send(parcels, many)
        for place in range(many):
            octets = contents[first + place]
            rests.append(octets[parcels[place].sent:] if parcels[place].sent < parcels[place].length else b"")
        first += many
    return rests
