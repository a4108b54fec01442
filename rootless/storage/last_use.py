"""When an image was last used: the modification time of its directory, renewed at most once an hour.

A pull that finds it here, a container's making (before its record is written) and removal, and a mount are
uses, and so is every change of the image's record. While a container is there the image is in use whatever its
time says.
"""

from __future__ import annotations

import os
import time

STEP_S = 3600


def note(data_dir: str, image_id: str) -> None:
    """The image ``image_id`` (``sha256:HEX``, "" for none) is used now. One of another store is left as it is."""
    path = f"{data_dir}/images/{image_id[7:]}"
    try:
        if image_id and time.time() - os.stat(path).st_mtime > STEP_S:
            os.utime(path)
    except OSError:
        pass
