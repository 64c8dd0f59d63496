# The room's door for the compiled forms of other rooms; see docs/decisions/0005-compiled-session.md.

from kumo.smtp.events cimport ContentReceived, MailReceived, RecipientReceived
from kumo.smtp.path cimport EnvelopeAddress
from kumo.smtp.server_session cimport ServerSession
