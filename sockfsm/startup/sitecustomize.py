"""Python runs this at start-up, because `sockfsm run` put its folder first on PYTHONPATH: it makes the
process a traced one and then steps aside for a `sitecustomize` of the user's own."""

import os
import sys


def _trace() -> None:
    # Absolute, as `sockfsm run` gave it. abspath() fails where the working directory is gone.
    here = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    folder = os.environ.get("SOCKFSM_TRACE")
    if folder is None:
        return
    before = list(sys.path)
    sys.path.append(os.path.dirname(os.path.dirname(here)))
    try:
        from sockfsm.record.folder import trusted

        trusted(folder)
        from sockfsm.tracer.session import begin

        mode = os.environ.get("SOCKFSM_MODE", "observe")
        begin(folder, mode, sinks=())
    except Exception as error:  # noqa: BLE001 - whatever it is, the program runs, untraced
        ours = type(error).__module__ == "sockfsm.errors"  # its text says all
        said = f"{error}" if ours else f"{type(error).__name__}: {error}"
        line = f"sockfsm: not traced: {said}\n"
        os.write(2, line.encode("utf-8", "backslashreplace"))
        from sockfsm.tracer.interpreters import is_main

        # Nor are its children, and this was said once. A subinterpreter has no children of its own.
        if is_main():
            os.environ.pop("SOCKFSM_TRACE", None)
    finally:
        sys.path[:] = before


def _next() -> None:
    """Make way for the user's own; where there is none, be as if there had been none at all."""
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401 - the user's own
    except ImportError as error:
        if ours is not None:
            sys.modules["sitecustomize"] = ours
        if error.name != "sitecustomize":
            raise
        # `site` takes this for an answer, and a later import finds nothing either.
        raise ImportError("No module named 'sitecustomize'", name="sitecustomize") from None


_trace()
_next()
