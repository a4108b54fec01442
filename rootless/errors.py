"""Every error that rpod shows to a user.

::

    RpodError                 exit code 125: what failed, on which name or path, why
     ├─ UsageError            an option or argument that makes no sense
     ├─ ConfigError           containers.toml: wrong key, type or value
     ├─ NotFoundError         no such container, image, volume …
     ├─ ConflictError         a name or port that is taken, an object in use
     ├─ StateError            the object is in the wrong state for the verb
     ├─ ImageError            a bad reference, manifest or layer
     │   └─ RegistryError     what a registry answered, or that it did not
     ├─ StorageError          layers, drivers, volumes, disk
     │   ├─ DiskFullError     no room is left for a layer
     │   └─ NewerError        a record of a later version of rpod
     ├─ NetworkError          drivers, ports, resolvers
     ├─ LaunchError           a step of the launch failed
     │   ├─ NotExecutableError    exit code 126
     │   └─ ProgramNotFoundError  exit code 127
     ├─ LimitError            a resource limit that cannot be set here
     └─ UnsupportedError      known by name, refused with the reason

``message`` is one line that says what failed and why; ``hint`` is the command or
the change that mends it ("" when there is none). ``rootless.cli.output.report`` prints them: the last
one from ``rootless.__main__``, those of single names among several from ``cli.actions.names.Each``.
"""

from __future__ import annotations

import os


class RpodError(Exception):
    """A failure that a user can read: ``message``, ``hint``, process exit ``code``."""

    code = 125

    def __init__(self, message: str, hint: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class UsageError(RpodError):
    """An option or argument that makes no sense."""


class ConfigError(RpodError):
    """A configuration file with a wrong key, type or value."""


class NotFoundError(RpodError):
    """No object of that name."""


class ConflictError(RpodError):
    """A name or port that is taken, or an object that is in use."""


class StateError(RpodError):
    """The object is in the wrong state for the verb."""


class ImageError(RpodError):
    """A bad reference, manifest, config or layer."""


class RegistryError(ImageError):
    """What a registry answered, or that it did not answer."""


class StorageError(RpodError):
    """Layers, drivers, volumes, disk."""


class NewerError(StorageError):
    """A record of a later version of rpod: it is left as it is."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was made by a newer version of rpod, and is left as it is", "update rpod")


class DiskFullError(StorageError):
    """No room, or no quota, is left for a layer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "rpod system df, rpod system prune --all; storage.max_size keeps images small")


class NetworkError(RpodError):
    """Network drivers, ports, resolvers."""


class LaunchError(RpodError):
    """A step between the spec and the running program failed."""


class NotExecutableError(LaunchError):
    """The program exists and cannot be executed."""

    code = 126


class ProgramNotFoundError(LaunchError):
    """The program does not exist in the container."""

    code = 127


class LimitError(RpodError):
    """A resource limit that cannot be set here."""


class UnsupportedError(RpodError):
    """A feature that is known by name and refused with the reason."""


def os_reason(error: OSError) -> str:
    """The kernel's reason in words, with the path if the error carries one."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.filename is None or isinstance(error.filename, int):  # execve and chdir of a descriptor
        return reason.lower()
    return f"{os.fsdecode(error.filename)}: {reason.lower()}"
