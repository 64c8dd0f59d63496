VARIABLE: str
INSTRUCTION_SETS: tuple[str, str, str]
INSTRUCTION_SET: str
