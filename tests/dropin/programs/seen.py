"""What a program sees of its own process when it looks around: a line for each thing."""

from __future__ import annotations

import atexit
import copyreg
import gc
import importlib
import inspect
import multiprocessing
import os
import pickle
import pydoc
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
import types
import typing
import warnings
from typing import Any

ADDRESS = r"0x[0-9a-f]{6,}"
MODULES = {
    "socket": socket,
    "_socket": sys.modules["_socket"],
    "os": os,
    "posix": sys.modules["posix"],
    "select": select,
    "ssl": ssl,
    "socket.socket": socket.socket,
    "_socket.socket": sys.modules["_socket"].socket,
    "ssl.SSLSocket": ssl.SSLSocket,
    "multiprocessing.connection.Connection": importlib.import_module(
        "multiprocessing.connection"
    ).Connection,
}


def show(case: str, told: object) -> None:
    """One line."""
    text = told if isinstance(told, str) else repr(told)
    print(case, "->", re.sub(ADDRESS, "0x", text).replace("\n", "\\n"))


def each(case: str, names: Any) -> None:
    """One line for each of many names."""
    for name in sorted(map(str, names)):
        show(f"{case} {re.sub(ADDRESS, '0x', name)}", "yes")


def attempt(question: Any, *args: Any) -> Any:
    """An answer, or the exception in its place."""
    try:
        return question(*args)
    except Exception as error:  # noqa: BLE001 - it is the answer
        return f"{type(error).__name__}: {error}"


def about(name: str, thing: Any) -> None:
    """What can be asked of a function or a class."""
    for attribute in (
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__text_signature__",
        "__self__",
    ):
        show(f"{name} {attribute}", attempt(getattr, thing, attribute, "absent"))
    for attribute in (
        "__defaults__",
        "__kwdefaults__",
        "__annotations__",
        "__closure__",
        "__wrapped__",
    ):
        show(f"{name} {attribute}", attempt(getattr, thing, attribute, "absent"))
    show(f"{name} type", type(thing).__name__)
    show(f"{name} repr", attempt(repr, thing))
    show(f"{name} signature", str(attempt(inspect.signature, thing)))
    show(
        f"{name} isbuiltin",
        [inspect.isbuiltin(thing), inspect.isroutine(thing), inspect.isfunction(thing)],
    )
    show(f"{name} ismethod", [inspect.ismethoddescriptor(thing), callable(thing)])
    show(f"{name} pickle", attempt(pickle.dumps, thing))
    show(f"{name} dir", dir(thing))
    show(f"{name} help", attempt(pydoc.plain, pydoc.render_doc(thing)) if callable(thing) else "")
    show(f"{name} file", attempt(inspect.getsourcefile, thing))


def namespaces() -> None:
    """What is in the modules and the classes, and of which make."""
    for name, owner in MODULES.items():
        each(f"dir {name}", dir(owner))
        each(f"vars {name}", vars(owner))
        for attribute, value in sorted(vars(owner).items()):
            if not isinstance(value, (int, str, dict, list, types.ModuleType)):
                show(f"type {name}.{attribute}", type(value).__name__)
    for name in sorted(vars(sys.modules["_socket"].socket).keys() | vars(socket.socket).keys()):
        about(f"socket.socket.{name}", getattr(socket.socket, name))
    for owner, names in {
        socket: "getaddrinfo socketpair fromfd create_connection create_server SocketType socket",
        os: "unlink remove fork close dup dup2 open stat lstat _exit execv execve posix_spawn",
        select: "select poll epoll",
        ssl: "SSLSocket create_default_context",
    }.items():
        for name in names.split():
            about(f"{owner.__name__}.{name}", getattr(owner, name))
    for name in ("read", "send", "write", "do_handshake", "unwrap", "recv"):
        about(f"ssl.SSLSocket.{name}", getattr(ssl.SSLSocket, name))


def identities() -> None:
    """Which objects are the same."""
    base = sys.modules["_socket"].socket
    each(
        "same method", [n for n in dir(base) if getattr(base, n) is getattr(socket.socket, n, None)]
    )
    posix = vars(sys.modules["posix"])
    each("os is posix", [n for n in sorted(posix) if vars(os).get(n) is posix[n]])
    for name in (
        "supports_dir_fd",
        "supports_fd",
        "supports_follow_symlinks",
        "supports_effective_ids",
    ):
        members = getattr(os, name)
        show(f"os.{name}", sorted(f.__name__ for f in members))
        show(f"os.{name} whole", [n for n in dir(os) if any(getattr(os, n) is m for m in members)])
    show("rmtree", shutil.rmtree.avoids_symlink_attacks)
    show("mro", [c.__name__ for c in socket.socket.__mro__])
    show(
        "subclasses", [[c.__name__ for c in cls.__subclasses__()] for cls in (base, socket.socket)]
    )
    show("hints", attempt(typing.get_type_hints, socket.getaddrinfo))
    show("copyreg", sorted(map(str, copyreg.dispatch_table)))


def process() -> None:
    """The process itself."""
    each("environ", os.environ)
    show("environ PYTHONPATH", os.environ.get("PYTHONPATH"))
    names = "import os; print(*os.environ)"
    command = [sys.executable, "-I", "-c", names]
    each(
        "environ of a child", subprocess.run(command, capture_output=True, text=True).stdout.split()
    )
    given = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, env=given).stdout.split()
    each("environ of a child that was given one", done)
    asked = "os.environ.get('PYTHONPATH'), sys.path, sys.argv, sys.flags, sys.orig_argv[1:]"
    child = f"import os, sys; print({asked})"
    for switches in ([], ["-I"], ["-S"], ["-E"], ["-s"]):
        command = [sys.executable, *switches, "-c", child]
        show(f"child {switches}", subprocess.run(command, capture_output=True, text=True).stdout)
    with open("/proc/self/environ") as file:
        each("environ of C", [entry.partition("=")[0] for entry in file.read().split("\0")])
    for name in [
        "path",
        "argv",
        "orig_argv",
        "flags",
        "warnoptions",
        "dont_write_bytecode",
        "prefix",
        "executable",
        "meta_path",
    ]:
        show(f"sys.{name}", getattr(sys, name))
    each("sys.path_hooks", sys.path_hooks)
    each("sys.path_importer_cache", sys.path_importer_cache)
    show(
        "sys hooks",
        [sys.excepthook is sys.__excepthook__, sys.unraisablehook is sys.__unraisablehook__],
    )
    show(
        "sys profile",
        [sys.gettrace(), sys.getprofile(), sys.getrecursionlimit(), sys.getswitchinterval()],
    )
    show(
        "threading hooks", [threading.excepthook is threading.__excepthook__, threading.gettrace()]
    )
    each("module", sys.modules)
    show("threads", [(t.name, t.daemon) for t in threading.enumerate()])
    show("tasks", len(os.listdir("/proc/self/task")))
    show("next thread", threading.Thread().name)
    show(
        "signals",
        [
            (s.name, signal.getsignal(s))
            for s in signal.valid_signals()
            if isinstance(s, signal.Signals)
        ],
    )
    show("wakeup", signal.set_wakeup_fd(-1))
    show("mask", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    with open("/proc/self/status") as file:
        show(
            "status",
            [line for line in file if line.startswith(("SigB", "SigI", "SigC", "NoNewPrivs"))],
        )
    show(
        "gc", [gc.isenabled(), gc.get_threshold(), gc.garbage, gc.callbacks, gc.get_freeze_count()]
    )
    show("atexit", atexit._ncallbacks())
    show("filters", [f[:3] for f in warnings.filters])
    show("onceregistry", warnings.onceregistry)  # type: ignore[attr-defined]  # typeshed lacks it
    show("umask", [os.umask(0o22), os.getcwd(), os.nice(0), os.getppid() == os.getsid(0)])
    show(
        "site",
        [sysconfig.get_paths(), sys.modules.get("sitecustomize"), sys.modules.get("usercustomize")],
    )
    show(
        "multiprocessing",
        [multiprocessing.get_start_method(allow_none=True), multiprocessing.active_children()],
    )


def descriptors(case: str) -> None:
    """What is open."""
    found = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        place = attempt(os.readlink, f"/proc/self/fd/{name}")
        found.append((name, re.sub(r"\d+", "N", place)))
    show(f"descriptors {case}", found)
    show(f"next descriptor {case}", os.dup(0))


def main() -> None:
    """All of it, at several moments."""
    descriptors("first")
    process()
    namespaces()
    identities()
    one, two = socket.socketpair()
    one.send(b"x")
    descriptors("with a pair")
    show("dict", [dir(one), attempt(vars, one)])
    show("bound", repr(one.send))
    show("refcount", [sys.getrefcount(one), len(gc.get_referrers(one))])
    show("pickle", attempt(pickle.dumps, one))
    one.close()
    two.close()
    descriptors("closed")
    sys.stdout.flush()  # or the child writes it once more
    pid = os.fork()
    if not pid:
        descriptors("in a child")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    thread = threading.Thread(target=descriptors, args=("in a thread",))
    thread.start()
    thread.join()
    show("threads after", [t.name for t in threading.enumerate()])
    atexit.register(show, "atexit first of ours", 1)
    atexit.register(show, "atexit second of ours", 2)


if __name__ == "__main__":
    main()
