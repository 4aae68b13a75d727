"""The sandbox of a decoder. It drops rights before it reads an untrusted file, so that code which takes over the
process can reach nothing.

Each layer by itself stops most attacks; the last one also works as root:

- limits: no further descriptor, not even in place of a closed one; memory; no files, no core; where there is no filter,
  no processes either;
- identity: as root, where it may, it becomes the user ``nobody`` without groups; it drops every capability for good;
- no new privileges by programs, and other processes of the same user cannot inspect it;
- a filter of system calls (seccomp) that allows memory, waiting, random bytes, the three pipes, and threads, because
  HEIC is not decoded without them. All others fail with EPERM.

Code that has taken over the process can still read the pictures that it gets from then on, and answer for them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import resource
import struct

NOBODY = 65534
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_KILL, _CAP_SETGID, _CAP_SETUID, _CAP_LAST = 5, 6, 7, 63
_CAPABILITY_VERSION_3 = 0x20080522
_ALLOWED = (
    "brk", "munmap", "mremap", "madvise", "futex", "sched_yield", "restart_syscall",
    "rt_sigreturn", "rt_sigprocmask", "setitimer", "exit", "exit_group",
    "clock_gettime", "clock_getres", "gettimeofday", "getpid", "gettid", "sysinfo",
    "set_robust_list", "rseq", "sched_getaffinity", "getrandom",
)  # fmt: skip
"""The allowed system calls for memory, time, random bytes (c2pa names what it makes by them) and the end of the
process. Those with conditions are added below."""


_THREAD_FLAGS = (0x3D0F00, 0x7D0F00)
"""What glibc and musl give clone() for a thread: it shares everything with the others. No process is made so."""


class SandboxMissing(Exception):
    """The filter of system calls cannot be installed here; the message has the reason."""


def load_libraries() -> None:
    """Load libseccomp while files can still be opened. Raises SandboxMissing."""
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise SandboxMissing(f"{error}; install libseccomp (Debian's libseccomp2)") from None


def confine(memory: int) -> None:
    """Apply all layers but the filter. The process keeps ``memory`` bytes of address space and the three open pipes."""
    _drop_identity()
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)


def forbid_processes() -> None:
    """For a process without the filter. It forbids threads too, and does nothing as root."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def filter_system_calls() -> None:
    """Install the filter of system calls, which stays until the process ends. Raises SandboxMissing."""
    import pyseccomp as seccomp

    calls = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in _ALLOWED:
        calls.add_rule(seccomp.ALLOW, name)
    calls.add_rule(seccomp.ALLOW, "read", seccomp.Arg(0, seccomp.EQ, 0))
    for descriptor in (1, 2):
        calls.add_rule(seccomp.ALLOW, "write", seccomp.Arg(0, seccomp.EQ, descriptor))
    # Memory for data only: no new code.
    for name in ("mmap", "mprotect"):
        calls.add_rule(seccomp.ALLOW, name, seccomp.Arg(2, seccomp.MASKED_EQ, mmap.PROT_EXEC, 0))
    for flags in _THREAD_FLAGS:
        calls.add_rule(seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.EQ, flags))
    # Its flags are in memory, where a filter cannot see them. The C library then calls clone.
    calls.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    # Signals only to itself, so that abort() ends it with its own signal.
    calls.add_rule(seccomp.ALLOW, "tgkill", seccomp.Arg(0, seccomp.EQ, os.getpid()))
    try:
        calls.load()
    except OSError as error:
        raise SandboxMissing(f"the kernel takes no filter of system calls: {error.strerror}") from None


def _drop_identity() -> None:
    held = _capabilities()
    for capability in range(_CAP_LAST + 1):
        with contextlib.suppress(OSError):  # not without CAP_SETPCAP, and there are not as many
            _prctl(_PR_CAPBSET_DROP, capability)
    with contextlib.suppress(OSError):  # kernels before 4.3
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    # Change the user only with CAP_KILL: the parent has the same capabilities, and without it could not end this
    # process.
    if os.geteuid() == 0 and all(held >> one & 1 for one in (_CAP_KILL, _CAP_SETGID, _CAP_SETUID)):
        with contextlib.suppress(OSError):  # a user namespace without the user nobody
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    _set_no_capabilities()


_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _capabilities() -> int:
    """The effective capabilities, one bit each."""
    data = ctypes.create_string_buffer(24)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    if _libc.capget(header, data) != 0:
        return 0
    low, _, _, high, _, _ = struct.unpack("6I", data.raw)
    return int(low | high << 32)


def _set_no_capabilities() -> None:
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")
