import multiprocessing
import os
import shutil
import stat

import pytest

from caravan.local import layout
from caravan.local.problems import StackError


def test_only_this_user_may_look_into_the_data_directory(tmp_path):
    with layout.claim(tmp_path / "data"):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_second_stack_in_the_same_directory_is_refused(tmp_path):
    with (
        layout.claim(tmp_path),
        pytest.raises(StackError, match=f"another `caravan up` \\(process {os.getpid()}\\)"),
        layout.claim(tmp_path),
    ):
        pass
    with layout.claim(tmp_path):
        pass  # free again


def _hold_and_die(path: str) -> None:
    with layout.claim(layout.Path(path)):
        os._exit(9)


def test_a_stack_that_died_holds_nothing(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_die, args=(str(tmp_path),))
    process.start()
    process.join()
    with layout.claim(tmp_path):
        pass


def test_a_full_disk_is_told_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 1 << 30, 5 << 20))
    with pytest.raises(StackError, match="only 5 MiB are free"), layout.claim(tmp_path):
        pass


def test_a_disk_that_fills_up_is_told_in_words(tmp_path):
    with pytest.raises(StackError, match="no space left"), layout.told_apart(tmp_path):
        raise OSError(28, "No space left on device")


def test_a_directory_that_cannot_be_made_is_told_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StackError, match="Not a directory; choose another directory with --data"),
        layout.claim(tmp_path / "file" / "data"),
    ):
        pass
