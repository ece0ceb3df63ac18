"""Which files an engine gets of a DoRA adapter."""

import asyncio
import json
from pathlib import Path

import pytest

from services.post_training.serving.adapter_files import AdapterFiles
from services.post_training.storage import Storage


class Converter:
    """Writes an adapter of the highest rank."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def convert(self, adapter: str, base: str, out: str, max_rank: int) -> None:
        self.asked.append(max_rank)
        await asyncio.to_thread(plain, Path(out), max_rank, 0.0)


def plain(folder: Path, rank: int, error: float) -> None:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "conversion.json").write_text(json.dumps({"relative_error": error}))


@pytest.mark.parametrize(
    ("made", "engine", "converted"),
    [
        ((64, 0.1), 64, False),
        ((32, 1e-7), 64, False),
        ((64, 0.1), 256, True),
        ((64, 1e-7), 32, True),
        (None, 64, True),
    ],
    ids=["as high as the engine's", "exact", "the engine takes a better one", "too high", "there is none"],
)
async def test_the_adapter_that_the_training_made_is_served_where_none_is_better(
    tmp_path: Path, made: tuple[int, float] | None, engine: int, converted: bool
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "adapter_config.json").write_text(json.dumps({"r": 8, "use_dora": True}))
    if made is not None:
        plain(checkpoint / "serving", *made)
    converter = Converter()
    served = await AdapterFiles(Storage(tmp_path / "storage"), converter).publish("one", checkpoint, "base", engine)
    assert converter.asked == [engine] * converted
    assert served.relative_error == (0.0 if converted or made is None else made[1])
    config = json.loads((served.folder / "adapter_config.json").read_text())
    assert config["r"] == (engine if converted or made is None else made[0])
