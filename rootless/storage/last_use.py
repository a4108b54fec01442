"""When an image was last used: the modification time of its directory, renewed at most once an hour.

A container's making and its removal are uses, and so is every change of the image's record. While a
container is there the image is in use whatever its time says.
"""

from __future__ import annotations

import os
import time

STEP_S = 3600


def note(data_dir: str, image_id: str) -> None:
    """The image ``image_id`` (``sha256:HEX``) is used now. One that is not there, or cannot be written, is fine."""
    path = f"{data_dir}/images/{image_id[7:]}"
    try:
        if time.time() - os.stat(path).st_mtime > STEP_S:
            os.utime(path)
    except OSError:
        pass
