"""A drive with a volatile write cache, served as a network block device, and a power supply to cut.

The protocol is NBD's newstyle handshake with one export and simple replies:
https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""
import os
import pathlib
import random
import socket
import struct
import subprocess
import threading

OPTION, OPTION_REPLY = b"IHAVEOPT", 0x3E889045565A9
EXPORT_NAME, ABORT, INFO, GO = 1, 2, 6, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
REQUEST, SIMPLE_REPLY = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FORCE_UNIT_ACCESS = 1
EINVAL = 22
# First bytes of blocks that a journal of Linux (jbd2) writes with "force unit access": commits and its
# two kinds of superblock. QEMU's NVMe controller loses that wish, which the kernel relies upon, so
# the drive has to know them.
JOURNAL_FORCED = {struct.pack(">II", 0xC03B3998, kind) for kind in (2, 3, 4)}


class Supply:
    """The power of all drives of a machine. Counts requests, and fails before the one it is told to:
    nothing is done or answered from then on."""

    def __init__(self):
        self.lock = threading.Lock()
        self.is_off = False
        self.counts = {"write": 0, "flush": 0, "forced write": 0}
        self.fails_at: tuple[str, int] | None = None

    def lasts(self, kind: str) -> bool:
        """Whether this request is still dealt with. To be called with the lock held."""
        if self.is_off:
            return False
        self.counts[kind] += 1
        if self.fails_at is not None and self.counts[self.fails_at[0]] >= self.fails_at[1]:
            self.is_off = True
        return not self.is_off


class Drive:
    """Writes are seen at once, and are durable after a flush or where they were forced; of the others,
    a power cut leaves some blocks. One that lies forgets what it was told to make durable, too.

    `medium` is what a power cut leaves for sure, `view` what the machine sees; `cached` are the
    writes that tell them apart, in order: offset, bytes, whether they were forced.
    """

    def __init__(self, medium: pathlib.Path, block_bytes: int, supply: Supply, lies: bool):
        self.path, self.block_bytes, self.supply, self.lies = medium, block_bytes, supply, lies
        view = medium.with_suffix(".view")
        subprocess.run(["cp", "--sparse=always", medium, view], check=True)
        self.medium, self.view = (open(path, "r+b", buffering=0) for path in (medium, view))
        self.byte_count = medium.stat().st_size
        self.cached: list[tuple[int, bytes, bool]] = []

    def close(self) -> None:
        self.medium.close()
        self.view.close()

    def lose_power(self, chance: random.Random) -> tuple[int, int]:
        """Some blocks of cached writes, an arbitrary choice, come to the medium, in order; the machine
        sees that from now on. Returns the bytes that were cached and those that stayed.

        A write at the start of the drive is whole or not at all: ext4 has its superblock there and
        does not mount, without e2fsck, when half of it is new.
        """
        share = chance.choice([0, 0.1, 0.5, 0.9, 1])
        total = kept = 0
        for offset, data, forced in self.cached:
            total += len(data)
            unit = len(data) if offset == 0 else self.block_bytes
            for start in range(0, len(data), unit):
                if forced or chance.random() < share:
                    block = data[start : start + unit]
                    put(self.medium, offset + start, block)
                    kept += len(block)
        for offset, data, _ in self.cached:
            put(self.view, offset, get(self.medium, offset, len(data)))
        self.cached.clear()
        return total, kept

    # Requests

    def read(self, offset: int, length: int) -> bytes:
        return get(self.view, offset, length)

    def write(self, offset: int, data: bytes, forced: bool) -> bool:
        forced = forced or data[:8] in JOURNAL_FORCED
        with self.supply.lock:
            if not self.supply.lasts("forced write" if forced else "write"):
                return False
            put(self.view, offset, data)
            self.cached.append((offset, data, forced and not self.lies))
            return True

    def flush(self) -> bool:
        with self.supply.lock:
            if not self.supply.lasts("flush"):
                return False
            if not self.lies:
                for offset, data, _ in self.cached:
                    put(self.medium, offset, data)
                self.cached.clear()
            return True


def get(file, offset: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(file.fileno(), length, offset)
        if not part:
            raise EOFError(f"{file.name} ends at {offset}")
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def put(file, offset: int, data: bytes) -> None:
    while data:
        done = os.pwrite(file.fileno(), data, offset)
        offset, data = offset + done, data[done:]


# The protocol


def serve(drive: Drive, connection: socket.socket) -> threading.Thread:
    """Answers requests in the background until the other end goes away or the power does."""

    def run() -> None:
        with connection:
            try:
                if negotiate(drive, connection):
                    while answer(drive, connection):
                        pass
            except (EOFError, ConnectionError):
                pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def receive(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length > 0:
        part = connection.recv(min(length, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def negotiate(drive: Drive, connection: socket.socket) -> bool:
    """Whether transmission begins."""
    flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA
    connection.sendall(b"NBDMAGIC" + OPTION + struct.pack(">H", FIXED_NEWSTYLE | NO_ZEROES))
    (wanted,) = struct.unpack(">I", receive(connection, 4))
    while True:
        magic, option, length = struct.unpack(">8sII", receive(connection, 16))
        if magic != OPTION:
            raise ConnectionError("no option where one was expected")
        receive(connection, length)

        def reply(kind: int, data: bytes = b"") -> None:
            head = struct.pack(">QIII", OPTION_REPLY, option, kind, len(data))
            connection.sendall(head + data)

        if option == EXPORT_NAME:
            zeroes = b"" if wanted & NO_ZEROES else bytes(124)
            connection.sendall(struct.pack(">QH", drive.byte_count, flags) + zeroes)
            return True
        if option in (GO, INFO):
            reply(REPLY_INFO, struct.pack(">HQH", INFO_EXPORT, drive.byte_count, flags))
            block = drive.block_bytes
            reply(REPLY_INFO, struct.pack(">HIII", INFO_BLOCK_SIZE, block, 4096, 32 << 20))
            reply(REPLY_ACK)
            if option == GO:
                return True
        elif option == ABORT:
            reply(REPLY_ACK)
            return False
        else:
            reply(REPLY_UNSUPPORTED)


def answer(drive: Drive, connection: socket.socket) -> bool:
    """Deals with one request; false when it is the last."""
    magic, flags, kind, handle, offset, length = struct.unpack(
        ">IHH8sQI", receive(connection, 28)
    )
    if magic != REQUEST:
        raise ConnectionError("no request where one was expected")
    data = receive(connection, length) if kind == WRITE else b""
    error, result = 0, b""
    if kind == DISCONNECT:
        return False
    if kind == READ:
        result = drive.read(offset, length)
    elif kind == WRITE:
        if not drive.write(offset, data, bool(flags & FORCE_UNIT_ACCESS)):
            return hang(connection)
    elif kind == FLUSH:
        if not drive.flush():
            return hang(connection)
    else:
        error = EINVAL
    connection.sendall(struct.pack(">II8s", SIMPLE_REPLY, error, handle) + result)
    return True


def hang(connection: socket.socket) -> bool:
    """Answers nothing until the other end is gone."""
    while connection.recv(1 << 20):
        pass
    return False
