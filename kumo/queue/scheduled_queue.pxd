# Types for the compiled form of scheduled_queue.py; see docs/decisions/0005-compiled-session.md.

cdef class QueuedMessage:
    cdef public double birth
    cdef public double due
    cdef public bint is_recovered
    cdef public object message
    cdef public Py_ssize_t octets
    cdef public Py_ssize_t order
    cdef public Py_ssize_t unsaved


cdef class ScheduledQueue:
    cdef public object _delayed
    cdef public object _held
    cdef public object _ready
    cdef public double asked_at
    cdef public object config
    cdef public Py_ssize_t in_flight
    cdef public bint is_active
    cdef public bint is_announced
    cdef public bint is_deferred
    cdef public bint is_held
    cdef public bint is_outdated
    cdef public str name
    cdef public double retry_asking_at
    cdef public double used_at
    cdef public object wake_at

    cpdef bint is_stale(self, double now)
    cpdef put(self, QueuedMessage entry, double now)
    cpdef bint has_work(self, double now)
    cdef double _stale_at(self)
