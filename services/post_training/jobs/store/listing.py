"""Lists of jobs and checkpoints."""

import re
from collections.abc import Sequence
from typing import Any

from caravan.post_training.v1 import checkpoints_pb2, jobs_pb2, post_training_pb2
from services.core.errors import InvalidArgumentError
from services.core.redis.connection import Connection
from services.core.redis.scripts import Argument, Script
from services.post_training import keys
from services.post_training.jobs.records import JobFilter, Page
from services.post_training.jobs.store import encoding

# A script keeps everybody else waiting: it looks at so many jobs at most, and a listing goes on with another one.
_SCAN = 2000


class Listing:
    """Reads pages."""

    def __init__(self, connection: Connection, scripts: dict[str, Script]) -> None:
        """Reads from there.

        Args:
            connection: The way to Redis.
            scripts: The scripts by name.
        """
        self._connection, self._scripts = connection, scripts

    async def list_jobs(
        self, wanted: JobFilter, page_size: int, page_token: str
    ) -> Page[post_training_pb2.ListJobsResponse]:
        """See JobStore."""
        indexes = [keys.JOBS]
        if wanted.parent_job_uuid:
            indexes = [keys.jobs_of_parent(wanted.parent_job_uuid)]
        elif wanted.statuses:
            indexes = [keys.jobs_of_status(status) for status in sorted(wanted.statuses)]
        below, before = _jobs_token(page_token), wanted.before_us
        if before is not None and (below == "+inf" or before < int(below)):
            below = str(before)
        page, again = post_training_pb2.ListJobsResponse(), True
        # One more than asked for tells whether there is a next page.
        while again and len(page.data) <= page_size:
            found, below, again = await self._some_jobs(indexes, wanted, below, page_size + 1 - len(page.data))
            if page.data:
                page.MergeFrom(found)
            else:
                # Most pages come at once: what was parsed is the page.
                page = found
        if len(page.data) <= page_size:
            return Page(page)
        del page.data[page_size:]
        return Page(page, str(page.data[-1].scheduled_at.ToMicroseconds()))

    async def _some_jobs(
        self, indexes: Sequence[str], wanted: JobFilter, below: str, limit: int
    ) -> tuple[post_training_pb2.ListJobsResponse, str, bool]:
        kinds = f",{','.join(str(kind) for kind in sorted(wanted.kinds))}," if wanted.kinds else ""
        least = str(wanted.after_us) if wanted.after_us is not None else "-inf"
        arguments: list[Argument] = [keys.job(""), below, least, limit, _SCAN, kinds, ""]
        arguments += [encoding.wanted_label(key, value) for key, value in wanted.labels.items()]
        packed, _, last, more, waiting = await self._run("list_jobs", [keys.ENDED_JOBS, *indexes], arguments)
        found = post_training_pb2.ListJobsResponse.FromString(packed)
        await self._fill_places(found.data, waiting)
        if wanted.statuses and any(job.status not in wanted.statuses for job in found.data):
            kept = [job for job in found.data if job.status in wanted.statuses]
            found = post_training_pb2.ListJobsResponse(data=kept)
        return found, last.decode(), more == b"1"

    async def _fill_places(self, found: Sequence[jobs_pb2.Job], waiting: Sequence[Any]) -> None:
        if not waiting:
            return
        queues = [keys.queue(lane.decode()) for _, _, lane in waiting]
        places = await self._run("places", queues, [uuid for _, uuid, _ in waiting])
        for (number, _, _), place in zip(waiting, places, strict=True):
            if place is not None:
                found[number - 1].queue_position = int(place) + 1

    async def list_checkpoints(
        self, job_uuid: str, *, final_only: bool, page_size: int, page_token: str
    ) -> Page[Sequence[checkpoints_pb2.Checkpoint]]:
        """See JobStore."""
        below, seen = _checkpoints_token(page_token)
        if job_uuid:
            return await self._checkpoints_of(job_uuid, below, seen, page_size, final_only=final_only)
        index = keys.FINAL_CHECKPOINTS if final_only else keys.CHECKPOINTS
        arguments: list[Argument] = [keys.job_checkpoints(""), below, seen, page_size + 1]
        found, members = await self._run("list_checkpoints", [index], arguments)
        checkpoints = [checkpoints_pb2.Checkpoint.FromString(kept) for kept in found[:page_size]]
        if len(found) <= page_size:
            return Page(checkpoints)
        member, at = members[page_size - 1]
        return Page(checkpoints, f"{int(at)}:{member.decode()}")

    async def _checkpoints_of(
        self, job_uuid: str, below: str, seen: str, page_size: int, *, final_only: bool
    ) -> Page[Sequence[checkpoints_pb2.Checkpoint]]:
        """A job has few."""
        names = [keys.job(job_uuid), keys.job_checkpoints(job_uuid)]
        found = await self._run("checkpoints_of", names)
        if found is None:
            raise encoding.no_job(job_uuid)
        parsed = [checkpoints_pb2.Checkpoint.FromString(kept) for kept in found]
        order = sorted(((_time(one), f"{job_uuid}/{one.identifier}", one) for one in parsed), reverse=True)
        bound = (float("inf"), "") if below == "+inf" else (int(below), seen)
        rest = [entry for entry in order if entry[:2] < bound and (entry[2].is_final or not final_only)]
        page = [entry[2] for entry in rest[:page_size]]
        more = len(rest) > page_size
        return Page(page, f"{rest[page_size - 1][0]}:{rest[page_size - 1][1]}" if more else "")

    async def _run(self, script: str, names: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        return await self._connection.run(self._scripts[script], names, arguments)


def _time(checkpoint: checkpoints_pb2.Checkpoint) -> int:
    return checkpoint.created_at.ToMicroseconds()


def _jobs_token(token: str) -> str:
    if token and not re.fullmatch(r"[0-9]{1,16}", token):
        raise _no_token()
    return token or "+inf"


def _checkpoints_token(token: str) -> tuple[str, str]:
    if not token:
        return "+inf", ""
    found = re.fullmatch(r"([0-9]{1,16}):([^/]+/.+)", token, re.DOTALL)
    if found is None:
        raise _no_token()
    return found[1], found[2]


def _no_token() -> InvalidArgumentError:
    return InvalidArgumentError.of("page_token", "must be the next_page_token of the page before")
