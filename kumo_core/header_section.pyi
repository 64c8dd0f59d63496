def find_section_end(content: bytes, limit: int) -> int: ...
def find_fields(
    content: bytes, section_end: int, names: tuple[bytes, ...], limit: int
) -> list[tuple[int, int, int, int]]: ...

# By it compiled modules find the functions.
__pyx_capi__: dict[str, object]
