"""The client side of FTP."""

from protocols.ftp.client.client import DATA_TIMEOUT, REPLY_TIMEOUT, FTPClient, connect_ftp
from protocols.ftp.client.data import FilePart
from protocols.ftp.client.listing import RemoteFile
from protocols.ftp.client.replies import CommandRefused, Reply
from protocols.ftp.client.walking import Folder, Walk

__all__ = [
    "DATA_TIMEOUT",
    "REPLY_TIMEOUT",
    "CommandRefused",
    "FTPClient",
    "FilePart",
    "Folder",
    "RemoteFile",
    "Reply",
    "Walk",
    "connect_ftp",
]
