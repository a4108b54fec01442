"""An assembler for seccomp's BPF (linux/bpf_common.h, linux/filter.h)."""

from __future__ import annotations

from rootless.errors import UsageError

# class | size or operation | mode or source
LOAD, AND, RETURN, JUMP = 0x20, 0x54, 0x06, 0x05
IF_EQUAL, IF_GREATER, IF_AT_LEAST = 0x15, 0x25, 0x35
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
FARTHEST = 255  # a conditional jump's offset is a byte
_U32 = 0xFFFFFFFF


class Assembler:
    """A BPF program written from its last instruction to its first.

    Every jump goes forward, so that its target is there before it; a label is the number of
    instructions from the target to the end. A target that is out of a conditional jump's
    reach is reached through a copy (of a return) or an unconditional jump nearby.
    """

    __slots__ = ("_after_load", "_returns", "code")

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []
        self._returns: dict[int, int] = {}  # value: label
        self._after_load: dict[int, tuple[int, int]] = {}  # label of a load: (what it loads, label behind it)

    def _append(self, operation: int, value: int, true: int = 0, false: int = 0) -> int:
        self.code.append((operation, true, false, value))
        return len(self.code)

    def ret(self, value: int) -> int:
        """Return ``value``: SECCOMP_RET_* with its data."""
        label = self._returns.get(value, 0)
        if not label or len(self.code) - label > FARTHEST // 2:
            label = self._returns[value] = self._append(RETURN, value)
        return label

    def _near(self, label: int, reserve: int) -> int:
        """A label with the effect of ``label`` that the next instruction but ``reserve`` reaches."""
        if len(self.code) + reserve - label <= FARTHEST:
            return label
        operation, _, _, value = self.code[label - 1]
        if operation == RETURN:
            return self.ret(value)
        return self._append(JUMP, len(self.code) - label)

    def branch(self, operation: int, value: int, true: int, false: int, holding: int = -1) -> int:
        """Jump on a comparison of the accumulator, which holds the word at ``holding`` (-1: anything)."""
        for label in (true, false):
            loaded, behind = self._after_load.get(label, (-2, 0))
            if loaded == holding:  # the target would load what is there already
                true = behind if true == label else true
                false = behind if false == label else false
        true = self._near(true, 1)
        false = self._near(false, 0)
        return self._append(operation, value, len(self.code) - true, len(self.code) - false)

    def load(self, offset: int, following: int) -> int:
        """Load the word at ``offset`` of seccomp_data and go on at ``following``."""
        if following != len(self.code):
            following = self._append(JUMP, len(self.code) - following)
        label = self._append(LOAD, offset)
        self._after_load[label] = (offset, following)
        return label

    def masked(self, offset: int, mask: int, value: int, true: int, false: int) -> int:
        """Load a word and jump on (word & ``mask``) == ``value``."""
        if mask == _U32:
            return self.load(offset, self.branch(IF_EQUAL, value, true, false, offset))
        self.branch(IF_EQUAL, value, true, false)
        return self.load(offset, self._append(AND, mask))

    def program(self) -> bytes:
        """The array of struct sock_filter. Raises UsageError over the kernel's limit."""
        if len(self.code) > MAX_INSTRUCTIONS:
            raise UsageError(
                f"it needs {len(self.code)} instructions, the kernel takes {MAX_INSTRUCTIONS}",
                "leave architectures or rules with arguments out of the profile",
            )
        out = bytearray()
        for operation, true, false, value in reversed(self.code):
            out += operation.to_bytes(2, "little") + bytes((true, false)) + value.to_bytes(4, "little")
        return bytes(out)
