"""How this process takes memory from the system.

By itself glibc keeps freed arrays of up to 32 MiB in its heap, where small things that live on hold them: merging postings and growing
arrays left a bank of 60,000 chunks with a quarter more than it needs. With fixed thresholds large arrays go back when they are freed. What
a query gathers, a thousand vectors or so, is smaller and stays: pages that come anew with every query cost ten times its arithmetic.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# What is larger lies by itself; so much may lie free at the heap's end.
_LARGE, _FREE = 2 << 20, 8 << 20


def give_back_large_arrays() -> None:
    """Fixes the thresholds, for the whole process. Other C libraries than glibc do as they do."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _FREE)
