"""Answering with an open file: validators, conditions, ranges, and a body that the transport sends itself."""

from __future__ import annotations

import hashlib
import typing

from protocols.http.conditional import EntityTag, failed_precondition, range_allowed
from protocols.http.dates import format_date
from protocols.http.messages import FileBody, FilePiece, Response
from protocols.http.ranges import (
    ByteRange,
    content_range,
    multipart,
    new_boundary,
    select_ranges,
    unsatisfied_range,
)
from protocols.http.resource import error_page

if typing.TYPE_CHECKING:
    from portable.files import FileStatus, OpenFile
    from protocols.http.request import Request

__all__ = ["entity_tag", "file_response"]

# Up to this a body is read and leaves in one piece with the head; above, the system sends it from its own
# cache.
SMALL_BODY = 16 * 1024  # bytes


def entity_tag(status: FileStatus) -> EntityTag:
    """Return a strong entity tag: another whenever the file is replaced, or changed in place (unless it was
    asked for in the same tick of the file system's clock, some milliseconds).

    The number of the inode is in it, as files may be exchanged without a new date, but cannot be read from it;
    and the time that only the system sets, as programs put back the date of a file that they have changed.
    """
    told = f"{status.mtime_ns}-{status.ctime_ns}-{status.size}-{status.inode}-{status.device}"
    return EntityTag(f'"{hashlib.blake2b(told.encode("ascii"), digest_size=12).hexdigest()}"')


def file_response(
    request: Request, opened: OpenFile, content_type: str, now: float, *, coding: str = "", varies: bool = False
) -> Response:
    """Return the answer to GET or HEAD with a regular file, which belongs to the response from now on.

    Args:
        opened: closed when the body is sent, or now if it is not needed.
        content_type: of the file's content, once decoded.
        now: seconds since 1970.
        coding: the content coding that the file is in; "" for none.
        varies: whether another Accept-Encoding could have had another answer.
    """
    size = opened.status.size
    etag = entity_tag(opened.status)
    # RFC 9110 8.8.2.1: never later than the answer itself.
    modified = min(opened.status.mtime_ns // 1_000_000_000, int(now))
    headers = [("ETag", str(etag))]
    if varies:
        headers.append(("Vary", "Accept-Encoding"))
    failed = failed_precondition(request.method, request.headers, etag, modified)
    if failed is not None:
        opened.close()
        return Response(304, headers) if failed == 304 else error_page(failed, headers=headers)
    headers += [("Last-Modified", format_date(modified)), ("Accept-Ranges", "bytes")]
    ranges = _ranges(request, size, etag, modified, int(now), bool(coding))
    if ranges is not None and not ranges:
        opened.close()
        return error_page(416, headers=[*headers, ("Content-Range", unsatisfied_range(size))])
    headers.append(("X-Content-Type-Options", "nosniff"))
    if coding:
        headers.append(("Content-Encoding", coding))
    if ranges is None:
        headers.append(("Content-Type", content_type))
        return Response(200, headers, _body(request, opened, 0, size))
    if len(ranges) == 1:
        headers += [("Content-Type", content_type), ("Content-Range", content_range(ranges[0], size))]
        return Response(206, headers, _body(request, opened, ranges[0].first, ranges[0].length))
    boundary = new_boundary()
    headers.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    pieces = multipart(ranges, size, content_type, boundary)
    return Response(206, headers, FileBody([_piece(opened, piece) for piece in pieces]))


def _ranges(
    request: Request, size: int, etag: EntityTag, modified: int, now: int, coded: bool
) -> list[ByteRange] | None:
    value = request.headers.get("range")
    # RFC 9110 14.2: other methods than GET have no ranges.
    if value is None or request.method != "GET" or not range_allowed(request.headers, etag, modified, now):
        return None
    ranges = select_ranges(value, size)
    if coded and ranges is not None and len(ranges) > 1:
        # Content-Encoding would then be said of the multipart body, which is not encoded.
        return None
    return ranges


def _body(request: Request, opened: OpenFile, offset: int, count: int) -> bytes | FileBody:
    if count <= SMALL_BODY and request.method != "HEAD":
        data = opened.read(offset, count)
        if len(data) == count:
            opened.close()
            return data
        # It became shorter since it was opened. Sending it tells the client, by ending the connection.
    return FileBody([FilePiece(_file(opened), offset, count)])


def _piece(opened: OpenFile, piece: bytes | ByteRange) -> bytes | FilePiece:
    return FilePiece(_file(opened), piece.first, piece.length) if isinstance(piece, ByteRange) else piece


def _file(opened: OpenFile) -> typing.BinaryIO:
    if opened.file is None:
        raise AssertionError("a folder has no content")
    return opened.file
