"""Several rows in one sequence: which go together, by best fit of decreasing lengths."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Puts rows together such that few sequences are needed. The same lengths give the same sequences.

    Args:
        lengths: Lengths of the rows in tokens, each at most `capacity`.
        capacity: Longest sequence in tokens.

    Returns:
        The numbers of the rows in each sequence.
    """
    sequences: list[list[int]] = []
    open_by_room: dict[int, list[int]] = {}
    rooms: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        length = lengths[row]
        at = bisect_left(rooms, length)
        if at < len(rooms):
            room = rooms[at]
            waiting = open_by_room[room]
            sequence = waiting.pop()
            if not waiting:
                del open_by_room[room]
                rooms.pop(at)
        else:
            room, sequence = capacity, len(sequences)
            sequences.append([])
        sequences[sequence].append(row)
        left = room - length
        if left > 0:
            if left not in open_by_room:
                insort(rooms, left)
            open_by_room.setdefault(left, []).append(sequence)
    return sequences
