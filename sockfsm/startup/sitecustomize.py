"""Python runs this at start-up, because `sockfsm run` put its folder first on PYTHONPATH: it makes the
process a traced one and then steps aside for a `sitecustomize` of the user's own."""

import os
import sys


def _trace() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    folder = os.environ.get("SOCKFSM_TRACE")
    if folder is None:
        return
    before = list(sys.path)
    sys.path.append(os.path.dirname(os.path.dirname(here)))
    try:
        from sockfsm.tracer.session import begin

        mode = os.environ.get("SOCKFSM_MODE", "observe")
        begin(folder, mode, sinks=())
    except Exception as error:  # noqa: BLE001 - whatever it is, the program runs, untraced
        line = f"sockfsm: not traced: {type(error).__name__}: {error}\n"
        os.write(2, line.encode("utf-8", "backslashreplace"))
    finally:
        sys.path[:] = before


def _next() -> None:
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401 - the user's own
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        if ours is not None:
            sys.modules["sitecustomize"] = ours


_trace()
_next()
