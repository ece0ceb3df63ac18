"""The environment that vLLM reads when it is imported."""

import atexit
import importlib.metadata
import os

from services.core.scratch import Scratch

EVERYWHERE = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CONFIGURE_LOGGING": "1",
    # Standard output is for the process that started this one.
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    # The service listens before the engine starts; a fork would copy gRPC's threads in mid-step.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_LOGGING_LEVEL": "WARNING",
}

ON_CPU = {
    # Folds the worker into the engine core's process; AsyncLLM starts that one in any case.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # The default binding pins the worker to core 0 and is up to 100 times slower when something else runs there.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_HOST_IP": "127.0.0.1",
    # The first request for log probabilities would compile for 10 s, and needs a C++ compiler.
    "TORCH_COMPILE_DISABLE": "1",
    # Idle OpenMP threads that spin take the time of those that work.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
}

SOCKETS = "VLLM_RPC_BASE_PATH"
# A socket's path has at most 107 bytes, and its name is a UUID after a slash.
LONGEST_FOLDER = 107 - 37


def is_cpu_build() -> bool:
    """Whether the vLLM that is installed is the build for CPUs."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def prepare() -> None:
    """Sets what is not set already. Call it before the first import of vLLM or torch."""
    threads = str(max(1, (os.cpu_count() or 2) // 2))
    wanted = EVERYWHERE | (ON_CPU | {"OMP_NUM_THREADS": threads} if is_cpu_build() else {})
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    if SOCKETS not in os.environ:
        _keep_files_apart()


def _keep_files_apart() -> None:
    """Gives the engine's sockets and temporary files a folder: it leaves some behind, all when it is killed.

    The folder goes with this process; that of one that was killed goes when the next one starts.
    """
    scratch = Scratch()
    scratch.open()
    atexit.register(scratch.close)
    folder = str(scratch.new_folder())
    # Where temporary files are far down, a socket's path would be too long; then they lie where vLLM puts them.
    if len(folder) <= LONGEST_FOLDER:
        # The first is read here, the second by the engine's own processes, for the file by which they find each other.
        os.environ[SOCKETS] = os.environ["TMPDIR"] = folder
