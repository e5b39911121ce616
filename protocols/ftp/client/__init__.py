"""The client side of FTP."""

from protocols.ftp.client.client import FTPClient
from protocols.ftp.client.connecting import DATA_TIMEOUT, REPLY_TIMEOUT, connect_ftp
from protocols.ftp.client.data import FilePart
from protocols.ftp.client.disk import download, mirror, upload
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
    "download",
    "mirror",
    "upload",
]
