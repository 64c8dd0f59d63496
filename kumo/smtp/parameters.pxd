# Types for the compiled form of parameters.py; see docs/decisions/0005-compiled-session.md.

cpdef read_mail_parameters(parameters)
cpdef read_rcpt_parameters(parameters)
