"""Octet kernels of SMTP reception: what is in these octets? What follows from it is ``kumo``'s to decide.

Every kernel is linear in its input, allocates at most its result and makes no Python object per
octet or line. There is no slow fallback: a missing extension is an installation fault.
"""

try:
    from kumo_core.command import Command, Path, decode_xtext, parse_command, parse_path
    from kumo_core.crlf import find_bare_line_ending, fix_line_endings
    from kumo_core.data_scanner import DataScanner, ScanReport
    from kumo_core.header_section import find_fields, find_section_end
    from kumo_core.instruction_set import INSTRUCTION_SET
    from kumo_core.line_length import check_line_lengths
    from kumo_core.transparency import stuff, unstuff
except ImportError as _error:
    raise ImportError(
        f"kumo_core is not compiled ({_error}); build it with: pip install . (or, in a checkout: make build)"
    ) from _error
from kumo_core.errors import Fault, WireSyntaxError

__all__ = [
    "INSTRUCTION_SET",
    "Command",
    "DataScanner",
    "Fault",
    "Path",
    "ScanReport",
    "WireSyntaxError",
    "check_line_lengths",
    "decode_xtext",
    "find_bare_line_ending",
    "find_fields",
    "find_section_end",
    "fix_line_endings",
    "parse_command",
    "parse_path",
    "stuff",
    "unstuff",
]
