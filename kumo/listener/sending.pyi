def send_together(descriptors: list[int], contents: list[bytes]) -> list[bytes]: ...

# By it compiled modules find the function.
__pyx_capi__: dict[str, object]
