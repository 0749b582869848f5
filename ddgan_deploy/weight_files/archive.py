"""The zip archives that PyTorch writes: checked before PyTorch reads them, which trusts their sizes and checksums."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from ddgan_deploy.errors import InputError

_MAGIC = b"PK\x03\x04"
_CHUNK = 1 << 20
_LENGTHS_IN_HEADER = 26
"""Where a record's own header has the lengths of its name and of an extra field, after which the content begins."""


def is_archive(file: BinaryIO) -> bool:
    """Whether a file begins like an archive; it is left at its start."""
    is_one = file.read(len(_MAGIC)) == _MAGIC
    file.seek(0)
    return is_one


def pickles_of_archive(file: BinaryIO) -> list[BinaryIO]:
    """The pickles in an archive, after all its records were checked.

    Raises:
        InputError: records are compressed, claim more bytes than the file has, or do not match their checksums.
        ValueError, OSError, zipfile.BadZipFile, struct.error: it is no archive, or is cut short.
    """
    records = zipfile.ZipFile(file).infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise InputError(
            "is an archive with compressed records (TorchScript?): give what torch.save has written of a state dict"
        )
    if sum(max(record.file_size, record.compress_size) for record in records) > file.seek(0, os.SEEK_END):
        raise InputError("is damaged, its records claim more bytes than it has: copy it again")
    for record in records:
        checksum = 0
        for chunk in _chunks(file, record):
            checksum = zlib.crc32(chunk, checksum)
        # Zero stands for none, as torch.serialization.set_crc32_options(False) leaves it.
        if record.CRC not in (0, checksum):
            raise InputError("is damaged, a record does not match its checksum: copy it again")
    pickled = [record for record in records if record.filename.lower().endswith("data.pkl")]
    return [io.BytesIO(b"".join(_chunks(file, record))) for record in pickled]


def _chunks(file: BinaryIO, record: zipfile.ZipInfo) -> Iterator[bytes]:
    file.seek(record.header_offset + _LENGTHS_IN_HEADER)
    file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
    left = record.file_size
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        yield chunk
        left -= len(chunk)
