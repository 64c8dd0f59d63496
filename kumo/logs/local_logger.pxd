# Types for the compiled form of local_logger.py; see docs/decisions/0005-compiled-session.md.

from kumo.logs.channel cimport Channel
from kumo.logs.selection cimport HeaderSelection, MetaSelection
from kumo.logs.writer cimport SegmentWriter
from kumo.message cimport Message as MessageType


cdef class LocalLogger:
    cdef public Channel _channel
    cdef public object _filter_event
    cdef public HeaderSelection _headers
    cdef public object _is_wanted
    cdef public MetaSelection _meta
    cdef public object _out_of_band
    cdef public dict _plans
    cdef public bint _selects
    cdef public SegmentWriter _writer

    cpdef offer(self, record, MessageType message)
    cpdef _write(self, plan, record, MessageType message)
    cdef _select(self, record, MessageType message)
