"""Reading turns, steps and everything that is known of a turn."""

from collections.abc import Sequence
from typing import Any

from caravan.agents.v1 import agents_pb2, config_pb2, turns_pb2
from services.agents.state import Page, SessionKey, TurnKey, TurnRecord, TurnRequest
from services.agents.store.context import Context, bad_token, check_session, no_session
from services.agents.store.keys import SessionKeys, is_identifier
from services.agents.store.records import fields_of, moment, step_of, turn_of
from services.core.errors import NotFoundError
from services.core.redis.scripts import Command

# Turns that one script reads: longer ones would keep the server from others.
_AT_ONCE = 25
# Scripts that one round trip brings; others' commands run between them.
_SCRIPTS_AT_ONCE = 4


class TurnReading:
    """Reads turns."""

    _context: Context

    async def get_turn(self, key: TurnKey) -> turns_pb2.Turn:
        """See TurnStore."""
        self._check(key)
        found = await self._read(key.session, [self._context.keys.session(key.session).turn(key.turn_id).turn])
        if found is None or not found[0]:
            raise no_turn(key)
        return turn_of(self._context.codec, fields_of(found[0]))

    async def get_step(self, key: TurnKey, step_id: str) -> turns_pb2.Step:
        """See TurnStore."""
        self._check(key)
        turn = self._context.keys.session(key.session).turn(key.turn_id).turn
        found = await self._read(key.session, [turn], "started", f"step:{step_id}")
        if found is None or found[0][0] is None:
            raise no_turn(key)
        kept: bytes | None = found[0][1]
        if kept is None:
            message = f"turn {key.turn_id!r} has no step {step_id!r}"
            raise NotFoundError(message, resource_type="step", resource_name=step_id)
        return step_of(self._context.codec, kept, moment(int(found[0][0])))

    async def get_turns(self, session: SessionKey, turn_ids: Sequence[str]) -> list[turns_pb2.Turn]:
        """See TurnStore."""
        check_session(session)
        for turn_id in turn_ids:
            if not is_identifier(turn_id):
                raise no_turn(TurnKey(session, turn_id))
        keys = self._context.keys.session(session)
        wanted = list(dict.fromkeys(turn_ids))
        calls = [("ZMSCORE", keys.turns, *wanted), *self._reads(keys, wanted)]
        scores, *replies = await self._in_pieces(keys, calls)
        numbers = dict(zip(wanted, scores, strict=True))
        for turn_id, number in numbers.items():
            if number is None:
                raise no_turn(TurnKey(session, turn_id))
        return sorted(self._decoded(session, replies), key=lambda turn: float(numbers[turn.turn_id]))

    async def list_turns(self, session: SessionKey, page_size: int, page_token: str = "") -> Page[turns_pb2.Turn]:
        """See TurnStore."""
        check_session(session)
        if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) < 16):
            raise bad_token()
        keys = self._context.keys.session(session)
        call = self._context.scripts["list_turns"].call([keys.session, keys.turns], page_token or 0, page_size + 1)
        found: list[bytes] | None = await self._context.commands.run(keys.session, call)
        if found is None:
            raise no_session(session)
        listed = list(zip(found[::2], found[1::2], strict=True))
        shown = listed[:page_size]
        turns = await self._turns(session, [turn_id.decode() for turn_id, _ in shown])
        return Page(turns, shown[-1][1].decode() if len(listed) > page_size else "")

    async def last_turns(self, session: SessionKey, most: int, besides: str = "") -> list[turns_pb2.Turn]:
        """See TurnStore."""
        check_session(session)
        keys = self._context.keys.session(session)
        call = self._context.scripts["last_turns"].call([keys.session, keys.turns], most + 1)
        found: list[bytes] | None = await self._context.commands.run(keys.session, call)
        if found is None:
            raise no_session(session)
        wanted = [turn_id.decode() for turn_id in found if turn_id.decode() != besides][:most]
        return await self._turns(session, wanted[::-1])

    async def _everything(self, key: TurnKey, *besides: Command) -> tuple[TurnRecord, Any]:
        """Returns everything that is known of a turn, and the last reply to what is asked besides, in the same round trip.

        What a turn was asked for is gone when it has ended.

        Raises:
            NotFoundError: There is no such turn.
        """
        self._check(key)
        session = self._context.keys.session(key.session)
        keys = session.turn(key.turn_id)
        call = self._context.scripts["read"].call([session.session, keys.turn, keys.spec])
        commands: list[Command] = [call, ("TIME",), *besides]
        found, (seconds, microseconds), *replies = await self._context.commands.run_all(session.session, commands)
        if found is None or not found[0]:
            raise no_turn(key)
        codec = self._context.codec
        spec = fields_of(found[1])
        request: TurnRequest
        if b"execute" in spec:
            request = codec.decode(agents_pb2.ExecuteTurnRequest, spec[b"execute"])
        else:
            request = codec.decode(agents_pb2.CreateTurnRequest, spec.get(b"create", b""))
        config = codec.decode(config_pb2.AgentConfig, spec.get(b"config", b""))
        at = moment(int(seconds) * 1000 + int(microseconds) // 1000)
        record = TurnRecord(turn_of(codec, fields_of(found[0])), request, config, at)
        return record, replies[-1] if replies else None

    async def _turns(self, session: SessionKey, turn_ids: Sequence[str]) -> list[turns_pb2.Turn]:
        """Reads turns that exist; one that is forgotten meanwhile is left out."""
        keys = self._context.keys.session(session)
        return self._decoded(session, await self._in_pieces(keys, self._reads(keys, turn_ids)))

    def _reads(self, keys: SessionKeys, turn_ids: Sequence[str]) -> list[Command]:
        names = [keys.turn(turn_id).turn for turn_id in turn_ids]
        script = self._context.scripts["read"]
        return [
            script.call([keys.session, *names[first : first + _AT_ONCE]]) for first in range(0, len(names), _AT_ONCE)
        ]

    async def _in_pieces(self, keys: SessionKeys, calls: Sequence[Command]) -> list[Any]:
        replies: list[Any] = []
        for first in range(0, len(calls), _SCRIPTS_AT_ONCE):
            piece = calls[first : first + _SCRIPTS_AT_ONCE]
            replies += await self._context.commands.run_all(keys.session, piece)
        return replies

    def _decoded(
        self, session: SessionKey, replies: Sequence[Sequence[Sequence[bytes]] | None]
    ) -> list[turns_pb2.Turn]:
        turns: list[turns_pb2.Turn] = []
        for found in replies:
            if found is None:
                raise no_session(session)
            turns += [turn_of(self._context.codec, fields_of(reply)) for reply in found if reply]
        return turns

    async def _read(self, session: SessionKey, hashes: Sequence[str], *fields: str) -> list[list[bytes]] | None:
        key = self._context.keys.session(session).session
        call = self._context.scripts["read"].call([key, *hashes], *fields)
        found: list[list[bytes]] | None = await self._context.commands.run(key, call)
        return found

    def _check(self, key: TurnKey) -> None:
        check_session(key.session)
        if not is_identifier(key.turn_id):
            raise no_turn(key)


def no_turn(key: TurnKey) -> NotFoundError:
    """Returns the error for a turn that does not exist."""
    message = f"there is no turn {key.turn_id!r} in session {key.session.session_id!r}"
    return NotFoundError(message, resource_type="turn", resource_name=key.turn_id)
