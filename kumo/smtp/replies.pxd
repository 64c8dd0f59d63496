# Types for the compiled form of replies.py; see docs/decisions/0005-compiled-session.md.

from kumo.smtp.reply cimport Reply


cpdef Reply address_accepted(str email)
