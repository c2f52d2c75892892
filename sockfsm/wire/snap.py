"""A classic BPF program that keeps exactly the headers of each frame.

A filter on a packet socket returns how many bytes of a frame the kernel copies. This one returns the
end of the TCP or UDP header, so no payload byte ever reaches us. Every load is guarded, because a load
beyond the end of a frame would drop it. The capturing process imports this, so only `struct` is
imported. Sources: linux/filter.h, bpf(4), RFC 791, 8200, 792, 4443.
"""

from __future__ import annotations

import struct

LD_ABS, LDH_ABS, LDB_ABS, LDH_IND, LDB_IND = 0x20, 0x28, 0x30, 0x48, 0x50
LD_IMM, LD_LEN, LD_MEM, LDX_IMM, LDX_HEADER, ST = 0x00, 0x80, 0x60, 0x01, 0xB1, 0x02
ADD, ADD_X, SUB_X, AND, LSH, RSH, TAX, TXA = 0x04, 0x0C, 0x1C, 0x54, 0x64, 0x74, 0x07, 0x87
JA, JEQ, JGE, JGE_X, RET, RET_A = 0x05, 0x15, 0x35, 0x3D, 0x06, 0x16

PROBE = 128  # bytes kept of our own probes
_WHOLE = 0xFFFF
_EXTENSIONS = 4  # IPv6 extension headers that are followed: BPF has no loops, so they are unrolled
_LOCALHOST = 0x7F000001

# (code, operand, label to jump to if true, and if false; '' for the next instruction)
_Instruction = tuple[int, int, str, str]


class _Program:
    """BPF instructions, with labels to jump to."""

    def __init__(self) -> None:
        self.instructions: list[_Instruction] = []
        self.places: dict[str, int] = {}

    def at(self, place: str) -> None:
        self.places[place] = len(self.instructions)

    def do(self, code: int, operand: int = 0, yes: str = "", no: str = "") -> None:
        self.instructions.append((code, operand, yes, no))

    def switch(self, cases: dict[int, str], other: str) -> None:
        """Jump by the accumulator's value."""
        for value, place in cases.items():
            self.do(JEQ, value, place)
        self.do(JA, 0, other)

    def need(self, size: int, other: str) -> None:
        """Jump to `other` if fewer than `size` bytes follow the index register."""
        self.do(LD_LEN)
        self.do(JGE_X, 0, "", other)
        self.do(SUB_X)
        self.do(JGE, size, "", other)

    def packed(self) -> bytes:
        pieces = []
        for number, (code, operand, yes, no) in enumerate(self.instructions):
            true, false = (self.places[p] - number - 1 if p else 0 for p in (yes, no))
            if code == JA:
                operand, true = true, 0
            pieces.append(struct.pack("=HBBI", code, true, false, operand))
        return b"".join(pieces)


def headers(link: int, probe: int = 0) -> bytes:
    """The program, as an array of `struct sock_filter`. link: bytes of the link header, 14 or 0.

    probe: the UDP port of 127.0.0.1 that our probes come from and go to; their token is kept.
    """
    program = _Program()
    do, at = program.do, program.at
    program_start(program, link)
    # The index register gets the length of the IPv4 header; `link` is added to every offset.
    at("ipv4")
    do(LDX_HEADER, link)
    do(LDH_ABS, link + 6)
    do(AND, 0x1FFF)
    do(JEQ, 0, "", "none")  # a later fragment: no header follows
    do(LDB_ABS, link + 9)
    do(JA, 0, "transport")
    ipv6(program, link)
    at("transport")
    program.switch({6: "tcp", 17: "udp", 1: "icmp", 58: "icmp6"}, "eight")
    at("tcp")
    program.need(link + 13, "whole")
    do(LDB_IND, link + 12)
    do(RSH, 2)
    do(AND, 0x3C)
    # A header length below 20 is nonsense: keep the fixed part.
    do(JGE, 20, "sound")
    do(LD_IMM, 20)
    at("sound")
    do(ADD_X)
    do(ADD, link)
    do(RET_A)
    quoted(program, link)
    at("udp")
    if probe:
        program.need(link + 8, "whole")
        for place in (0, 2):
            do(LDH_IND, link + place)
            do(JEQ, probe, "", "eight")
        do(LD_ABS, link + 16)
        do(JEQ, _LOCALHOST, "", "eight")
        do(RET, PROBE)
    at("eight")
    do(TXA)
    do(ADD, link + 8)
    do(RET_A)
    at("none")
    do(TXA)
    do(ADD, link)
    do(RET_A)
    at("whole")
    do(RET, _WHOLE)
    return program.packed()


def program_start(program: _Program, link: int) -> None:
    """Branch by IP version. ARP is kept whole; of other frames only the link header is kept."""
    do, at = program.do, program.at
    do(LD_LEN)
    do(JGE, link + 20, "", "whole")
    if link:
        do(LDH_ABS, 12)
        program.switch({0x0800: "ipv4", 0x86DD: "ipv6", 0x0806: "whole"}, "other")
    else:
        do(LDB_ABS, 0)
        do(AND, 0xF0)
        program.switch({0x40: "ipv4", 0x60: "ipv6"}, "other")
    at("other")
    do(RET, link or 20)


def ipv6(program: _Program, link: int) -> None:
    """Skip extension headers. Leaves the protocol in the accumulator, its offset in the index."""
    do, at = program.do, program.at
    at("ipv6")
    do(LDX_IMM, 0)
    program.need(link + 40, "whole")
    do(LDX_IMM, 40)
    do(LDB_ABS, link + 6)
    for number in range(_EXTENSIONS):
        options, authentic, fragment, following, skip = (
            f"{name}{number}" for name in ("options", "authentic", "fragment", "following", "skip")
        )
        cases = dict.fromkeys((0, 43, 60, 135), options)
        program.switch({**cases, 51: authentic, 44: fragment}, following)
        # Header lengths count units of 8 bytes beyond the first 8; authentication counts units of 4.
        for place, units in ((options, 3), (authentic, 2)):
            at(place)
            program.need(link + 2, "whole")
            do(LDB_IND, link)
            do(ST, 0)
            do(LDB_IND, link + 1)
            do(LSH, units)
            do(ADD, 8)
            do(JA, 0, skip)
        at(fragment)
        program.need(link + 4, "whole")
        do(LDH_IND, link + 2)
        do(AND, 0xFFF8)
        do(JEQ, 0, "", "eight")
        do(LDB_IND, link)
        do(ST, 0)
        do(LD_IMM, 8)
        at(skip)
        do(ADD_X)
        do(TAX)
        do(LD_MEM, 0)
        at(following)


def quoted(program: _Program, link: int) -> None:
    """Keep of an ICMP error the packet that it quotes: IP header and 8 bytes more, 20 for TCP."""
    do, at = program.do, program.at
    inner = link + 8
    at("icmp")
    program.need(inner + 20, "whole")
    do(LDB_IND, link)
    program.switch(dict.fromkeys((3, 4, 5, 11, 12), "quote"), "eight")
    at("quote")
    do(LDB_IND, inner)
    do(AND, 0x0F)
    do(LSH, 2)
    do(ST, 0)
    do(LDB_IND, inner + 9)
    do(JA, 0, "measure")
    at("icmp6")
    program.need(inner + 40, "whole")
    do(LDB_IND, link)
    # ICMPv6 types below 128 are errors (RFC 4443, 2.1); only these quote a packet.
    do(JGE, 128, "eight")
    do(LD_IMM, 40)
    do(ST, 0)
    do(LDB_IND, inner + 6)
    at("measure")
    do(JEQ, 6, "segment")
    do(LD_MEM, 0)
    do(ADD, inner + 8)
    do(JA, 0, "add")
    at("segment")
    do(LD_MEM, 0)
    do(ADD, inner + 20)
    at("add")
    do(ADD_X)
    do(RET_A)
