"""The nearest thing to a Mac that Linux has: this interpreter without what only Linux gives it.

Prepended to code for `python -c`. Names go before anything of ours is imported, so whoever needs one at import fails,
and whoever calls one does too. What a Mac does differently by the same name is not shown by it.
"""

from __future__ import annotations

WITHOUT_LINUX = """
import os, pathlib, select, signal, socket, sys, sysconfig
import urllib.request  # these two ask for modules that only a Mac's Python has
sysconfig.get_config_vars()
for module, names in {
    os: '''listxattr getxattr setxattr removexattr memfd_create eventfd eventfd_read eventfd_write pidfd_open splice
           copy_file_range posix_fadvise posix_fallocate fdatasync getrandom unshare setns sched_getaffinity
           sched_setaffinity sched_getscheduler sched_setscheduler sched_getparam sched_setparam login_tty
           O_TMPFILE O_PATH O_NOATIME O_DIRECT O_RSYNC O_LARGEFILE getresuid getresgid setresuid setresgid''',
    signal: 'pidfd_send_signal sigtimedwait sigwaitinfo SIGPWR SIGSTKFLT SIGRTMIN SIGRTMAX SIGCLD SIGPOLL',
    select: 'epoll',
    socket: 'AF_NETLINK AF_PACKET AF_VSOCK',
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in [name for name in dir(os) if name.startswith(('XATTR_', 'MFD_', 'CLONE_', 'EFD_', 'SCHED_', 'GRND_'))]:
    delattr(os, name)
_read = pathlib.Path.read_bytes
def _no_proc(path):
    if str(path).startswith(('/proc/', '/sys/')):
        raise FileNotFoundError(2, 'No such file or directory', str(path))
    return _read(path)
pathlib.Path.read_bytes = _no_proc
_uname = os.uname
os.uname = lambda: os.uname_result(('Darwin', *_uname()[1:]))
sys.platform = 'darwin'
"""
