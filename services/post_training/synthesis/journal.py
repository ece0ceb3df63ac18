"""What has been made so far, on disk: one JSON object a line, appended and synced from time to time.

    {"dialog": 3, "answer": 0, "message": {...}, "usage": {"prompt_tokens": 9.0, ...}}    an answer
    {"dialog": 3, "scores": [0.5, -1.2]}                                                  scores of all answers to a dialog
    {"seconds": 1.5}                                                                      time that was spent

A line that a crash has cut off is dropped when the file is opened again. Only numbers are held in memory: 17 bytes an answer.
"""

import asyncio
import json
import math
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf import json_format

from caravan.types.v1 import types_pb2
from services.post_training.storage import full_disk_told

_FLUSH_SECONDS = 0.2
_MOST_WAITING = 1 << 20


class Journal:
    """Answers and scores of a generation that goes on where it was."""

    def __init__(self, path: Path, dialogs: int, answers: int, *, is_scored: bool) -> None:
        """Describes the file; `open` reads or makes it.

        Args:
            path: The file; its folder exists.
            dialogs: Number of dialogs.
            answers: Number of answers to each.
            is_scored: A dialog is complete when its answers are scored.
        """
        self.dialogs = dialogs
        self.answers = answers
        self.made = 0
        self.seconds = 0.0
        self.usage: Counter[str] = Counter()
        self.scores = array("d", [math.nan]) * (dialogs * answers if is_scored else 0)
        self._path = path
        self._is_scored = is_scored
        self._offsets = array("q", [-1]) * (dialogs * answers)
        self._file: BinaryIO | None = None
        self._end = 0
        self._waiting: list[bytes] = []
        self._bytes_waiting = 0
        self._lock = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads what an earlier attempt has made, and begins to write.

        Raises:
            ResourceExhaustedError: The disk is full.
        """
        await asyncio.to_thread(self._open)
        self._flushing = asyncio.create_task(self._keep_flushing(), name="flush-generations")

    async def close(self) -> None:
        """Writes what waits, and closes the file."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        try:
            await self.flush()
        finally:
            if self._file is not None:
                self._file.close()

    def has(self, dialog: int, answer: int) -> bool:
        """Tells whether an answer is made."""
        return self._offsets[dialog * self.answers + answer] >= 0

    def missing(self, dialog: int) -> list[int]:
        """Returns the answers to a dialog that are not made yet."""
        return [answer for answer in range(self.answers) if not self.has(dialog, answer)]

    def is_complete(self, dialog: int) -> bool:
        """Tells whether a dialog has all its answers, and their scores."""
        first = dialog * self.answers
        return not self.missing(dialog) and not (self._is_scored and math.isnan(self.scores[first]))

    def scores_of(self, dialog: int) -> Sequence[float]:
        """Returns the scores of the answers to a complete dialog; empty when nothing scores them."""
        first = dialog * self.answers
        return self.scores[first : first + self.answers]

    def add_answer(
        self,
        dialog: int,
        answer: int,
        message: types_pb2.CompletionMessage,
        metrics: Iterable[types_pb2.MetricInResponse],
    ) -> None:
        """Notes an answer; it is on disk soon."""
        usage = {metric.metric: metric.value for metric in metrics}
        written = json_format.MessageToDict(message, preserving_proto_field_name=True)
        self._append({"dialog": dialog, "answer": answer, "message": written, "usage": usage})

    def add_scores(self, dialog: int, scores: Sequence[float]) -> None:
        """Notes the scores of all answers to a dialog; they are on disk soon."""
        self._append({"dialog": dialog, "scores": list(scores)})

    def add_seconds(self, seconds: float) -> None:
        """Notes time that was spent."""
        self._append({"seconds": seconds})

    async def flush(self) -> None:
        """Writes and syncs what waits.

        Raises:
            ResourceExhaustedError: The disk is full.
        """
        async with self._lock:
            lines, self._waiting, self._bytes_waiting = self._waiting, [], 0
            if lines:
                await asyncio.to_thread(self._write, b"".join(lines))

    async def room(self) -> None:
        """Waits while more waits to be written than should.

        Raises:
            ResourceExhaustedError: The disk is full.
        """
        if self._bytes_waiting > _MOST_WAITING or (self._flushing is not None and self._flushing.done()):
            await self.flush()

    async def messages(self, places: Sequence[int]) -> list[types_pb2.CompletionMessage]:
        """Reads answers; all that was made is on disk.

        Args:
            places: Their places among all, the first dialog's answers first.
        """
        await self.flush()
        return await asyncio.to_thread(self._read, places)

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._note(entry, self._end)
        self._end += len(line)
        self._waiting.append(line)
        self._bytes_waiting += len(line)

    def _note(self, entry: Mapping[str, Any], offset: int) -> None:
        if "message" in entry:
            place = entry["dialog"] * self.answers + entry["answer"]
            if self._offsets[place] < 0:
                self._offsets[place] = offset
                self.made += 1
                self.usage.update(entry["usage"])
        elif "scores" in entry:
            first = entry["dialog"] * self.answers
            self.scores[first : first + self.answers] = array("d", entry["scores"])
        else:
            self.seconds += entry["seconds"]

    def _open(self) -> None:
        with full_disk_told():
            self._file = self._path.open("a+b")
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            self._note(json.loads(line), self._end)
            self._end += len(line)
        self._file.truncate(self._end)

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        with full_disk_told():
            self._file.write(content)
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def _read(self, places: Sequence[int]) -> list[types_pb2.CompletionMessage]:
        messages = []
        with self._path.open("rb") as file:
            for place in places:
                file.seek(self._offsets[place])
                entry = json.loads(file.readline())
                messages.append(json_format.ParseDict(entry["message"], types_pb2.CompletionMessage()))
        return messages

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await self.flush()
