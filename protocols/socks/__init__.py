"""SOCKS 4, 4a and 5: a client asks a proxy to connect to somebody, or to wait for somebody, in its place.

messages    what the versions have in common
v4, v5      the messages of each on the wire, read and written
incoming    messages awaited one by one
addresses   what an address leads to: private networks, metadata, other addresses inside it
rules       which targets a proxy connects to
proxy       what the connections of one proxy share
server      the proxy's end of a connection
bind        waiting for the peer of a BIND request
endpoint    the client's end, for any other protocol to connect through
"""
