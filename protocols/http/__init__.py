"""HTTP/1.1 (RFC 9110 and 9112): a strict parser, an encoder, and a server of resources.

HTTP/2 is not offered: a client that begins with its preface gets status 505, and an Upgrade to it is ignored.
Content-Encoding of request bodies is not decoded and multipart is not parsed here, so there is nothing to bomb.
"""
