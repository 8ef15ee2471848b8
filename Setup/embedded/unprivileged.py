"""Runs a program as another user: PostgreSQL refuses to run as root.

Used by root as ``python unprivileged.py USER [--pass-closed-folders] PROGRAM ARGUMENTS...``.
A folder such as /root lets no other user pass. With the option the program therefore keeps one of root's
rights, CAP_DAC_OVERRIDE (Linux): it is still not root, and still reaches its files there.
"""

import ctypes
import os
import pwd
import sys

PASS_CLOSED_FOLDERS = "--pass-closed-folders"  # noqa: S105

_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2


def main() -> None:
    """Become the user and then the program."""
    user, *command = sys.argv[1:]
    keep_right = command[0] == PASS_CLOSED_FOLDERS
    if keep_right:
        command = command[1:]
        _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    _become(pwd.getpwnam(user))
    if keep_right:
        _raise_dac_override()
    os.execv(command[0], command)  # noqa: S606


def _become(account: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["HOME"] = account.pw_dir


def _raise_dac_override() -> None:
    """Make the right effective and inherited over exec; see capabilities(7), "ambient set"."""
    bit = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable; first for capabilities 0 to 31, then for 32 to 63.
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _call("capset", header, data)
    _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _call(function: str, *arguments: object) -> None:
    system_call = getattr(ctypes.CDLL(None, use_errno=True), function, None)  # absent outside Linux
    longs = (ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments)
    if system_call is None or system_call(*longs):
        number = ctypes.get_errno()
        sys.exit(
            f"{function} failed ({os.strerror(number)}): PostgreSQL may not run as root, and no other user "
            "can reach its files: start as an ordinary user, or from a folder that every user may pass"
        )


if __name__ == "__main__":
    main()
