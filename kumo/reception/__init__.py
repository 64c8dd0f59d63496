"""Reception: what happens to a message between its final dot and the reply."""

from kumo.reception.conformance import BARE_LINE_ENDING, LINE_TOO_LONG, check_conformance, mend
from kumo.reception.reception import RELAYING_NOT_PERMITTED, Reception
from kumo.reception.relay_authority import RelayAuthority, RelayDisposition
from kumo.reception.split import batches

__all__ = [
    "BARE_LINE_ENDING",
    "LINE_TOO_LONG",
    "RELAYING_NOT_PERMITTED",
    "Reception",
    "RelayAuthority",
    "RelayDisposition",
    "batches",
    "check_conformance",
    "mend",
]
