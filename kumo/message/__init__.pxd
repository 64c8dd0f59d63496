# The room's door for the compiled forms of other rooms; see docs/decisions/0005-compiled-session.md.

from kumo.message.connection cimport Connection
from kumo.message.message cimport Message
