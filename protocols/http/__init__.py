"""HTTP/1.1 (RFC 9110 and 9112): a strict parser, an encoder, and a server of resources."""
