from typing import NamedTuple

class Path(NamedTuple):
    local_part: str
    domain: str
    is_literal: bool

class Command(NamedTuple):
    verb: str
    argument: str | None
    path: Path | None
    parameters: tuple[tuple[str, str | None], ...]

def parse_command(line: bytes) -> Command: ...
def parse_path(text: bytes) -> Path: ...
def decode_xtext(text: str) -> bytes: ...
