"""Media types by file name, the same on every machine: the system's own tables are not read."""

from __future__ import annotations

import mimetypes

__all__ = ["CONTENT_CODINGS", "content_type", "is_compressible"]

# Suffix of a precompressed sibling to its content coding, the better one first.
CONTENT_CODINGS = {".br": "br", ".gz": "gzip"}

# What the library lacks, or has under an older name. Later names of RFC 6838's registry stand here.
_OWN_TYPES = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "apng": "image/apng",
    "atom": "application/atom+xml",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "br": "application/octet-stream",
    "bz2": "application/x-bzip2",
    "c": "text/plain",
    "cfg": "text/plain",
    "conf": "text/plain",
    "css": "text/css",
    "csv": "text/csv",
    "deb": "application/vnd.debian.binary-package",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eot": "application/vnd.ms-fontobject",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "geojson": "application/geo+json",
    "gif": "image/gif",
    "gz": "application/gzip",
    "h": "text/plain",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "ini": "text/plain",
    "iso": "application/vnd.efi.iso",
    "java": "text/plain",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "jxl": "image/jxl",
    "log": "text/plain",
    "m4a": "audio/mp4",
    "m4v": "video/mp4",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mkv": "video/matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpd": "application/dash+xml",
    "m3u8": "application/vnd.apple.mpegurl",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "patch": "text/plain",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "py": "text/x-python",
    "rar": "application/vnd.rar",
    "rs": "text/plain",
    "rss": "application/rss+xml",
    "rst": "text/x-rst",
    "sh": "text/x-shellscript",
    "sql": "application/sql",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "toml": "application/toml",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "vtt": "text/vtt",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "xz": "application/x-xz",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
    "zst": "application/zstd",
}
# Files that people expect to read in the browser though their names have no suffix.
_TEXTS = frozenset(
    [
        "authors",
        "changelog",
        "changes",
        "contributing",
        "copying",
        "copyright",
        "license",
        "makefile",
        "news",
        "notice",
        "readme",
        "todo",
    ]
)
_LIBRARY = mimetypes.MimeTypes(()).types_map[True]
_COMPRESSED = frozenset(["font/woff", "font/woff2", "application/pdf", "application/zip", "application/gzip"])


def content_type(name: str, default: str) -> str:
    """Return the Content-Type of the file `name`. Texts are UTF-8.

    Args:
        name: without folders. Only its last suffix counts, so "x.tar.gz" is a gzip file: what is sent is what
            is on the disk.
        default: for names that tell nothing; sent as it is.
    """
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return "text/plain; charset=utf-8" if name.lower() in _TEXTS else default
    suffix = suffix.lower()
    media_type = _OWN_TYPES.get(suffix) or _LIBRARY.get("." + suffix)
    if media_type is None:
        return default
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


def is_compressible(media_type: str) -> bool:
    """Return whether a file of this type may have compressed siblings: pictures, sounds and films have not."""
    if media_type.startswith(("image/", "audio/", "video/")):
        return media_type.startswith(("image/svg", "image/bmp", "image/vnd.microsoft.icon"))
    return media_type not in _COMPRESSED
