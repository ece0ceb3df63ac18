"""Names of all keys and channels of the service, and what is under them.

All share one hash tag, so that one script may touch data sets and jobs together, on a Redis Cluster too. Identifiers of users come last in
a name: they may hold colons.

Data sets (owner: `services.post_training.datasets`; a script of another part may read all of them, and write `dataset-users`):

    datasets                sorted set of identifiers, all of score 0: the list is in their order
    datasets:<format>       the same, of those of one format (number of the enum's value)
    dataset:<id>            hash: dataset (bytes of a Dataset: what never changes), folder (name of its folder), fingerprint (of the
                            call that created it), revision (number of the newest), current (record of it, as below)
    dataset-revisions:<id>  hash: number of a revision -> its record, "created segment row_count size_bytes sha256": microseconds since
                            the epoch, the file that it added, rows and bytes so far. There is revision R when R is a field here
    dataset-users:<id>      set of the job_uuid of jobs that use it and have not ended; with one, the data set cannot be deleted
    dataset-folders         hash: name of a folder -> identifier of the data set that it is of; a folder that is not here is a leftover
    storage                 string: identity of the folder on disk that all this is about; without it nothing there is taken for a leftover

Jobs (owner: `services.post_training.jobs`):

    job:<uuid>              hash: job (bytes of a Job: what a change of state changes, without what has a place of its own here), progress
                            (bytes of a Job with its progress alone), request (bytes of a Job with its request alone), digest (of that
                            request as it came), status, kind, parent, labels (for each, sorted: NUL, key, "=", value; and a last NUL),
                            created (microseconds since the epoch), keep (milliseconds after its end; 0: for ever), revision, sequence
                            (number of its last event), token (grows with each lease), holder, lane (its queue), rank (its place there),
                            crashes, ran (milliseconds), told (last step with metrics), operation and appended (the last writes)
    job-events:<uuid>       stream: entry <number>-0 has e (bytes of a JobEvent without number)
    job-metrics:<uuid>      hash: name of a metric -> its last value
    job-checkpoints:<uuid>  hash: identifier -> bytes of a Checkpoint
    job-users:<uuid>        set of "identifier|job_uuid": checkpoints of it that other jobs go on from, and which
    jobs                    sorted set of all job_uuid by created; jobs:status:<n> and jobs:parent:<uuid> are those of one status or search
    jobs:ended              hash: job_uuid of an ended one -> bytes of it as lists show it
    queue:<lane>            sorted set of the job_uuid that wait for their turn, by rank
    delayed:<lane>          sorted set of those that will, by the time in milliseconds
    leases                  sorted set of the job_uuid that somebody runs, by the end of the lease in milliseconds
    expiries                sorted set of ended ones by the time when they go, in milliseconds
    graves                  set of the job_uuid of deleted ones whose files are still there
    checkpoints             sorted set of "job_uuid/identifier" by the time of making, in microseconds; checkpoints:final are results alone
    news                    channel: "job_uuid status number-of-last-event" whenever a job has new events; status 0: it is gone

    request:<rpc>:<id>      string, for 24 hours: what a call with this request id was answered
"""

TAG = "{caravan:post_training}"

DATASETS = f"{TAG}:datasets"
DATASET_FOLDERS = f"{TAG}:dataset-folders"
STORAGE = f"{TAG}:storage"

JOBS = f"{TAG}:jobs"
ENDED_JOBS = f"{TAG}:jobs:ended"
LEASES = f"{TAG}:leases"
EXPIRIES = f"{TAG}:expiries"
GRAVES = f"{TAG}:graves"
CHECKPOINTS = f"{TAG}:checkpoints"
FINAL_CHECKPOINTS = f"{TAG}:checkpoints:final"
NEWS = f"{TAG}:news"


def datasets_of_format(number: int) -> str:
    """Returns the key of the list of data sets of one format.

    Args:
        number: Number of the format.
    """
    return f"{DATASETS}:{number}"


def dataset(dataset_id: str) -> str:
    """Returns the key of a data set."""
    return f"{TAG}:dataset:{dataset_id}"


def dataset_revisions(dataset_id: str) -> str:
    """Returns the key of a data set's revisions."""
    return f"{TAG}:dataset-revisions:{dataset_id}"


def dataset_users(dataset_id: str) -> str:
    """Returns the key of the jobs that use a data set."""
    return f"{TAG}:dataset-users:{dataset_id}"


def request(rpc: str, request_id: str) -> str:
    """Returns the key of what a call with this request id was answered: the digest of the call and the answer.

    Args:
        rpc: Name of the RPC.
        request_id: The caller's, or one of our own for a call that may be sent again.
    """
    return f"{TAG}:request:{rpc}:{request_id}"


def job(job_uuid: str) -> str:
    """Returns the key of a job; without an identifier, what the keys of all jobs begin with."""
    return f"{TAG}:job:{job_uuid}"


def job_events(job_uuid: str) -> str:
    """Returns the key of a job's events."""
    return f"{TAG}:job-events:{job_uuid}"


def job_metrics(job_uuid: str) -> str:
    """Returns the key of a job's last metrics."""
    return f"{TAG}:job-metrics:{job_uuid}"


def job_checkpoints(job_uuid: str) -> str:
    """Returns the key of a job's checkpoints; without an identifier, what the keys of all jobs begin with."""
    return f"{TAG}:job-checkpoints:{job_uuid}"


def job_users(job_uuid: str) -> str:
    """Returns the key of the jobs that go on from a job's checkpoints."""
    return f"{TAG}:job-users:{job_uuid}"


def jobs_of_status(number: int) -> str:
    """Returns the key of the jobs that stand somewhere.

    Args:
        number: Number of the status.
    """
    return f"{JOBS}:status:{number}"


def jobs_of_parent(job_uuid: str) -> str:
    """Returns the key of the trials of a search."""
    return f"{JOBS}:parent:{job_uuid}"


def queue(lane: str) -> str:
    """Returns the key of a queue."""
    return f"{TAG}:queue:{lane}"


def delayed(lane: str) -> str:
    """Returns the key of those that will be in a queue later."""
    return f"{TAG}:delayed:{lane}"
