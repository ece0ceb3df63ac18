"""JSON Lines: an object a line. Blank lines, CRLF and a byte order mark do no harm."""

from pathlib import Path

from services.post_training.datasets.readers.numbered import Rows, row_of, too_large

_BOM = b"\xef\xbb\xbf"
_BUFFER = 1 << 20


def read(path: Path, max_row_bytes: int) -> Rows:
    """Yields the rows of a file.

    Args:
        path: The file.
        max_row_bytes: Most bytes of a row.
    """
    number = 0
    with path.open("rb", buffering=_BUFFER) as file:
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        # One more than the longest line: its end.
        while line := file.readline(max_row_bytes + 2):
            if line.endswith(b"\n") or len(line) <= max_row_bytes:
                text = line.strip()
                if text:
                    yield number, row_of(text, max_row_bytes)
                    number += 1
                continue
            yield number, too_large(max_row_bytes)
            number += 1
            while line and not line.endswith(b"\n"):
                line = file.readline(_BUFFER)
