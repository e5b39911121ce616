"""The numbers of telnet: commands (RFC 854, RFC 1184) and options (the registry of IANA)."""

from __future__ import annotations

__all__ = [
    "ABORT",
    "AO",
    "AYT",
    "BINARY",
    "BRK",
    "CHARSET",
    "DM",
    "DO",
    "DONT",
    "EC",
    "ECHO",
    "EL",
    "EOF",
    "GA",
    "IAC",
    "IP",
    "LINEMODE",
    "NAWS",
    "NEW_ENVIRON",
    "NOP",
    "SB",
    "SE",
    "SGA",
    "SUSP",
    "TTYPE",
    "WILL",
    "WONT",
]

# Commands. A code below EOF has no meaning behind IAC.
EOF = 236  # end of file
SUSP = 237  # suspend the process
ABORT = 238  # abort the process
SE = 240  # end of a sub-negotiation
NOP = 241
DM = 242  # data mark of a Synch
BRK = 243  # break
IP = 244  # interrupt the process
AO = 245  # abort output
AYT = 246  # are you there
EC = 247  # erase character
EL = 248  # erase line
GA = 249  # go ahead
SB = 250  # beginning of a sub-negotiation
WILL = 251
WONT = 252
DO = 253
DONT = 254
IAC = 255

# Options.
BINARY = 0  # RFC 856
ECHO = 1  # RFC 857
SGA = 3  # suppress go-ahead, RFC 858
TTYPE = 24  # terminal type, RFC 1091
NAWS = 31  # window size, RFC 1073
LINEMODE = 34  # RFC 1184
NEW_ENVIRON = 39  # RFC 1572
CHARSET = 42  # RFC 2066
