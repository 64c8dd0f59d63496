VARIABLE: str
INSTRUCTION_SETS: tuple[str, str, str, str]
INSTRUCTION_SET: str

# By which the other modules of the package find the passes.
__pyx_capi__: dict[str, object]
