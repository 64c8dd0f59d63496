# Types for the compiled form of conformance.py; see docs/decisions/0005-compiled-session.md.

from kumo_core.data_scanner cimport ScanReport as ReportType


cpdef check_conformance(ReportType report, line_endings)

cpdef bytes mend(bytes content, ReportType report, line_endings)
