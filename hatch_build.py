"""Build hook: the wheel (and the editable install) contains stubs generated from `protos/`."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface):
    """Generates the stubs before files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the stubs in the source tree and declares them as files of the wheel.

        Args:
            version: "standard" or "editable".
            build_data: hatchling's description of this build.
        """
        del version
        sys.path.insert(0, str(Path(self.root) / "tools"))
        import stubs

        outputs = stubs.build(Path(self.root))
        build_data["artifacts"] += [f"/{output.as_posix()}" for output in outputs]
