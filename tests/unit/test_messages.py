"""What launcher and init say to each other arrives, whoever goes first."""

from __future__ import annotations

import pytest

from rootless.errors import LaunchError
from rootless.runtime import messages


def test_an_error_arrives_from_one_who_went_without_reading_everything() -> None:
    launcher, init = messages.pair()
    launcher.send("go")
    init.send_error(LaunchError("no such user", "look at /etc/passwd"), "the container cannot be set up")
    init.close()
    with pytest.raises(LaunchError, match="no such user"):
        launcher.receive()
    assert launcher.receive().kind == ""
    launcher.close()


def test_the_one_who_sends_hears_it_too() -> None:
    launcher, init = messages.pair()
    launcher.send("mapped")
    init.send_error(LaunchError("no such user"), "the container cannot be set up")
    init.close()
    with pytest.raises(LaunchError, match="no such user"):
        launcher.send("go")
    launcher.close()
