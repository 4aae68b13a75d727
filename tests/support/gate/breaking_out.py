"""Runs in a decoder, in place of its decoding, as a stranger's code would that found a fault in a library.

``python -m tests.support.gate.breaking_out`` with a decoder's arguments is a decoder whose every picture is the name of
a door; its answer is a JPEG that is none, but has in it how the door was found: "open" or an error's name.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
import resource
import signal
import socket
from collections.abc import Callable

from orchestrator.photos.decoder import __main__ as decoder
from orchestrator.photos.decoder import picture

_libc = ctypes.CDLL(None, use_errno=True)
_PARENT = os.getppid()
_SYSCALLS = {
    "x86_64": {
        "clone": 56,
        "io_uring_setup": 425,
        "pidfd_open": 434,
        "clone3": 435,
        "bpf": 321,
        "keyctl": 250,
    },
    "aarch64": {
        "clone": 220,
        "io_uring_setup": 425,
        "pidfd_open": 434,
        "clone3": 435,
        "bpf": 280,
        "keyctl": 219,
    },
}[platform.machine()]
_THREAD = 0x3D0F00
_PTRACE_SEIZE, _CLONE_NEWUSER, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 0x4206, 0x10000000, 4, 8


def _checked(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _c(name: str, *arguments: int | bytes | None) -> None:
    _checked(getattr(_libc, name)(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def _system_call(name: str, *arguments: int) -> None:
    _checked(_libc.syscall(ctypes.c_long(_SYSCALLS[name]), *map(ctypes.c_long, arguments)))


def _close_and_open() -> None:
    """A descriptor that was closed makes room for another."""
    os.close(2)
    os.close(os.open("/etc/passwd", os.O_RDONLY))


def _read_secrets() -> None:
    os.close(os.open(f"/proc/{_PARENT}/environ", os.O_RDONLY))


def _connect() -> None:
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _exec() -> None:
    os.execv("/bin/true", ["true"])


def _read_parents_memory() -> None:
    buffer = ctypes.create_string_buffer(16)
    iovec = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 16)
    here = (ctypes.c_size_t * 2)(ctypes.addressof(_libc.printf), 16)
    _checked(_libc.process_vm_readv(_PARENT, iovec, 1, here, 1, 0))


def _raise_limits() -> None:
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_AS):
        soft, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (min(soft + 1, 2**62), max(hard + 1, soft + 1)))


DOORS: dict[str, Callable[[], object]] = {
    "close a descriptor and open a file": _close_and_open,
    "read the parent's environment": _read_secrets,
    "list a folder": lambda: os.listdir("/"),
    "write a file": lambda: os.close(os.open("/tmp/out", os.O_WRONLY | os.O_CREAT)),
    "delete a file": lambda: os.unlink("/tmp/reroom-no-such-file"),
    "see whether a file exists": lambda: os.stat("/etc/passwd"),
    "connect": _connect,
    "a pair of sockets": lambda: socket.socketpair(),
    "a pipe": os.pipe,
    "another descriptor": lambda: os.dup(1),
    "fork": _fork,
    "clone3": lambda: _system_call("clone3", 0, 0),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "a namespace of its own": lambda: _system_call("clone", _CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0),
    "a thread that is not one": lambda: _system_call("clone", _THREAD | _CLONE_NEWUSER, 0, 0, 0, 0),
    "signal the parent": lambda: os.kill(_PARENT, 0),
    "signal its group": lambda: os.killpg(os.getpgid(_PARENT), 0),
    "pidfd of the parent": lambda: _system_call("pidfd_open", _PARENT, 0),
    "ptrace the parent": lambda: _c("ptrace", _PTRACE_SEIZE, _PARENT, 0, 0),
    "read the parent's memory": _read_parents_memory,
    "unshare": lambda: _c("unshare", _CLONE_NEWUSER),
    "memfd": lambda: os.memfd_create("x"),
    "io_uring": lambda: _system_call("io_uring_setup", 1, 0),
    "bpf": lambda: _system_call("bpf", 0, 0, 0),
    "a keyring": lambda: _system_call("keyctl", 0, -3, 1),
    "root again": lambda: os.setresuid(0, 0, 0),
    "another user": lambda: os.setresuid(1, 1, 1),
    "another group": lambda: os.setgroups([0]),
    "higher limits": _raise_limits,
    "another process's limits": lambda: resource.prlimit(_PARENT, resource.RLIMIT_NOFILE),
    "dumpable again": lambda: _c("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0),
    "keep capabilities": lambda: _c("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0),
    "deafness to the processor's clock": lambda: signal.signal(signal.SIGPROF, signal.SIG_IGN),
    "new code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "a higher priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
    "who runs here": lambda: os.listdir("/proc"),
    "exec": _exec,
}

_decode = picture.normalise


def _try(data: bytes, max_pixels: int) -> picture.Normalised:
    if not data.startswith(b"doors"):
        return _decode(data, max_pixels)
    found = {}
    for name, door in DOORS.items():
        try:
            door()
            found[name] = "open"
        except OSError as error:
            found[name] = errno.errorcode[error.errno or 0]
        except RuntimeError:  # "can't start new thread"
            found[name] = "EAGAIN"
        except ValueError:  # "not allowed to raise maximum limit"
            found[name] = "EPERM"
    return picture.Normalised(json.dumps(found).encode(), 0, 0)


def main() -> None:
    user = int(os.environ.get("BREAK_OUT_AS", os.getuid()))
    if user != os.getuid():
        # As late as can be: that user may have no access to Python's files.
        decoder.warm_up(1_000_000)
        import pyseccomp  # noqa: F401

        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    picture.normalise = _try
    decoder.main()


if __name__ == "__main__":
    main()
