"""A Space whose disk is wiped says so to its owner: on the page, over HTTP and in the log; one with a volume or the sync does not."""

import logging
from pathlib import Path

import pytest

from app.hub import Sync
from app.settings import Settings
from app.space_disk import is_wiped
from app.ui.sync_line import sync_line
from storage.store import Store


def test_only_a_space_without_a_volume_is_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = tmp_path / "data"
    mounted: set[str] = {"/"}
    monkeypatch.setattr("os.path.ismount", lambda place: str(place) in mounted)
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert not is_wiped(data)
    monkeypatch.setenv("SPACE_ID", "owner/plumb")
    assert is_wiped(data)
    assert is_wiped(Path("data")), "a relative folder, too"
    mounted.add(str(tmp_path))
    assert not is_wiped(data)


def test_the_owner_is_told_unless_the_sync_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("SPACE_ID", "owner/plumb")
    monkeypatch.setattr("os.path.ismount", lambda place: str(place) == "/")
    store = Store(tmp_path / "data")
    off = Sync.of(Settings(data=tmp_path / "data"), store.database)
    with caplog.at_level(logging.WARNING):
        off.start()
    assert "PLUMBLINE_SYNC_DATASET" in caplog.text
    assert 'role="status"' in sync_line(off.status(), off.loses_all)
    assert "PLUMBLINE_SYNC_DATASET" in sync_line(off.status(), off.loses_all)
    assert not Sync(store.database, "owner/labels", "hf_token").loses_all

    caplog.clear()
    monkeypatch.delenv("SPACE_ID")
    off.start()
    assert not caplog.text
    assert "PLUMBLINE" not in sync_line(off.status(), off.loses_all)
