"""What keeps a stack from starting."""

from pathlib import Path

from caravan.errors import CaravanError


class StackError(CaravanError):
    """The stack cannot start or go on; the message says what to do."""


class ChildFailedError(StackError):
    """A process of the stack ended before it was ready."""

    def __init__(self, name: str, how: str, log: Path, tail: str) -> None:
        """Shows the end of the log.

        Args:
            name: Name of the process in the stack.
            how: How it ended.
            log: Its log.
            tail: The log's last lines.
        """
        super().__init__(f"{name} {how}; its log is {log}")
        self.tail = tail
