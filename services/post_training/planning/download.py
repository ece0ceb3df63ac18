"""`python -m services.post_training.planning.download <id> [--offline]`: prints the folder of a Hugging Face model; 3: there is none."""

import sys

_PATTERNS = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")


def main(name: str, mode: str = "") -> int:
    """Finds or downloads a model; returns the exit status.

    Args:
        name: Its id.
        mode: `--offline` finds only.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        found = snapshot_download(name, allow_patterns=list(_PATTERNS), local_files_only=mode == "--offline")
    except (LocalEntryNotFoundError, RepositoryNotFoundError):
        return 3
    except (HfHubHTTPError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(found + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
