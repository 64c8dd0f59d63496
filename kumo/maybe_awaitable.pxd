# Types for the compiled form of maybe_awaitable.py; see docs/decisions/0005-compiled-session.md.

cpdef bint is_awaitable(value)
