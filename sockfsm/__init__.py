"""sockfsm: see what your sockets really do.

    import sockfsm

    with sockfsm.tracing() as trace:
        ...                                 # any code that uses sockets
    for call in trace.calls():
        print(call.method, call.outcome, call.before, call.after, call.site)

Names are imported when they are first used, so that `import sockfsm` costs next to nothing.

PYTEST_DONT_REWRITE: `sockfsm run -m pytest` imports this package before pytest can rewrite its
asserts, and pytest would warn of that. There are none to rewrite.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "IllegalCall": "sockfsm.tracer.enforce",
    "SockfsmError": "sockfsm.errors",
    "Trace": "sockfsm.trace.trace",
    "blocked": "sockfsm.tracer.blocked",
    "install": "sockfsm.tracer.block",
    "machine": "sockfsm.model.custom",
    "predict": "sockfsm.model.predict",
    "socket": "sockfsm.tracer.drop_in",
    "state": "sockfsm.tracer.drop_in",
    "tracing": "sockfsm.tracer.block",
    "uninstall": "sockfsm.tracer.block",
}

__all__ = [*sorted(_HOME), "__version__"]

if TYPE_CHECKING:
    from sockfsm.errors import SockfsmError as SockfsmError
    from sockfsm.model.custom import machine as machine
    from sockfsm.model.predict import predict as predict
    from sockfsm.trace.trace import Trace as Trace
    from sockfsm.tracer.block import install as install
    from sockfsm.tracer.block import tracing as tracing
    from sockfsm.tracer.block import uninstall as uninstall
    from sockfsm.tracer.blocked import blocked as blocked
    from sockfsm.tracer.drop_in import socket as socket
    from sockfsm.tracer.drop_in import state as state
    from sockfsm.tracer.enforce import IllegalCall as IllegalCall


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'sockfsm' has no attribute {name!r}")
    # Not kept: pytest's `pytester` lets modules be imported anew, and then this is the new one's.
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
