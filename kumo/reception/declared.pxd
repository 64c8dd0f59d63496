# Types for the compiled form of declared.py; see docs/decisions/0005-compiled-session.md.

from kumo.smtp cimport ContentReceived as ContentType


cpdef declare(dict meta, ContentType content)
