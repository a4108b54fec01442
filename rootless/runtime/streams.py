"""The standard streams of a container's program, both sides of them."""

from __future__ import annotations

import os


class Streams:
    """Both sides of a container's standard streams: pipes, or one pseudo-terminal.

    ``inside`` are the three descriptors of the program, ``outside`` the monitor's; a missing
    one is -1. With a terminal they are filled once init has made it.
    """

    __slots__ = ("borrowed", "inside", "line_ends", "master", "outside", "size")

    def __init__(self, inside: list[int], outside: list[int]) -> None:
        self.inside = inside
        self.outside = outside
        self.master = -1
        self.borrowed = False  # the caller's own, whose owner is not ours to change
        self.line_ends = True  # the terminal returns the carriage at a line's end (ONLCR)
        self.size = (0, 0)  # rows and columns of the terminal from the start; (0, 0): the caller's

    @classmethod
    def pipes(cls, *, stdin: bool) -> Streams:
        """Pipes; without ``stdin`` the program reads /dev/null."""
        if stdin:
            read_in, write_in = os.pipe()
        else:
            read_in, write_in = os.open("/dev/null", os.O_RDONLY), -1
        read_out, write_out = os.pipe()
        read_err, write_err = os.pipe()
        return cls([read_in, write_out, write_err], [write_in, read_out, read_err])

    @classmethod
    def terminal(cls) -> Streams:
        """Nothing yet: the pseudo-terminal is made inside."""
        return cls([], [])

    @classmethod
    def inherited(cls) -> Streams:
        """The caller's own three: nothing is between them and the program."""
        streams = cls([os.dup(fd) for fd in range(3)], [-1, -1, -1])
        streams.borrowed = True
        return streams

    def close_inside(self) -> None:
        """Close the program's side, in the launcher."""
        for fd in self.inside:
            os.close(fd)
        self.inside = []
