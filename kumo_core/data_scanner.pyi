from typing import NamedTuple, final

from typing_extensions import Buffer

class ScanReport(NamedTuple):
    content_length: int
    bare_cr: bool
    bare_lf: bool
    first_bare_offset: int
    stuffed_lines: int
    longest_line_over_limit: int

@final
class DataScanner:
    def __init__(self, line_length_limit: int = 998) -> None: ...
    def scan(self, chunk: Buffer, start: int = 0, end: int = -1) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def content_length(self) -> int: ...
    @property
    def scanned(self) -> int: ...
    def report(self) -> ScanReport: ...
    def reset(self) -> None: ...
