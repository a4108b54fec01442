"""The XDG rules, against the library that is the field's word on them."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
import xdg_base_dirs

from rootless import paths


@pytest.mark.parametrize("value", [None, "", "relative/dir", "/somewhere/else"])
@pytest.mark.parametrize("name", ["DATA", "STATE", "CACHE", "CONFIG"])
def test_directories_agree_with_xdg_base_dirs(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    variable = f"XDG_{name}_HOME"
    if value is None:
        monkeypatch.delenv(variable, raising=False)
    else:
        monkeypatch.setenv(variable, value)
    theirs = getattr(importlib.reload(xdg_base_dirs), f"xdg_{name.lower()}_home")()
    ours = {"DATA": paths.data, "STATE": paths.state, "CACHE": paths.cache, "CONFIG": paths.user_config}[name]()
    assert Path(ours).relative_to(theirs).parts[0] == "rpod"


def test_without_a_runtime_directory_a_stand_in_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    info = os.stat(paths.runtime())
    assert info.st_uid == os.getuid()
    assert info.st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o733, 0o702])
def test_a_runtime_directory_that_others_can_read_or_write_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(mode)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert not paths.runtime().startswith(str(tmp_path))


def test_the_runtime_directory_stays_the_same_after_podman_let_others_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    before = paths.runtime()
    tmp_path.chmod(0o711)
    assert paths.runtime() == before == f"{tmp_path}/rpod"
