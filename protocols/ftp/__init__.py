"""FTP (RFC 959, 1123, 2228, 2389, 2428, 2577, 2640, 3659, 4217, 7151): the client and the server side."""
