from typing_extensions import Buffer

def find_crlf(octets: bytes, start: int) -> int: ...
def copy_octets(data: Buffer, start: int, end: int) -> bytes: ...

# By it compiled modules find the functions.
__pyx_capi__: dict[str, object]
