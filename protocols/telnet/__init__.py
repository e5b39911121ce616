"""Telnet, both sides (RFC 854, 855), with the options that a console needs; the others are refused politely.

codes          the numbers of RFC 854 and of the options
parser         bytes to data, commands, negotiations and sub-negotiations
negotiation    which options are in effect: the Q method (RFC 1143)
naws           the size of the window (RFC 1073)
ttype          the type of the terminal (RFC 1091)
charset        the encoding of text (RFC 2066)
nvt            line ends of the network virtual terminal
connection     all of these together, without a transport
server         a protocol that serves a `terminal`, with echo (RFC 857) and without go-ahead (RFC 858)
client         a protocol that is the terminal
"""
