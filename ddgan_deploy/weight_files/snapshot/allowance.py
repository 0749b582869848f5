"""How much a pickle may ask for, so that a small file cannot take much time or memory."""

from __future__ import annotations

from dataclasses import dataclass

from ddgan_deploy.errors import InputError

MAX_OPCODES = 1_000_000
"""Several times what the largest published snapshots have: they grow with layers, not with weights."""
_SLACK = 1 << 20


@dataclass
class Allowance:
    """What is left.

    Attributes:
        size: in bytes, of what may be copied out of the file's own content. A tensor is copied once, or twice in
            protocol 2, where its bytes are a text.
        opcodes: that may be read.
    """

    size: int
    opcodes: int = MAX_OPCODES

    @classmethod
    def of_file(cls, size: int) -> Allowance:
        """For a file of that many bytes."""
        return cls(2 * size + _SLACK)

    def copy(self, size: int) -> None:
        """Takes bytes off.

        Raises:
            InputError: they are more than a file without repetitions needs.
        """
        self.size -= size
        if self.size < 0:
            raise InputError("is damaged, its objects claim more bytes than it has: copy it again")

    def read_opcode(self) -> None:
        """Takes one off.

        Raises:
            InputError: none is left.
        """
        self.opcodes -= 1
        if self.opcodes < 0:
            raise InputError(f"has more than {MAX_OPCODES} opcodes: give a snapshot of one generator's training")
