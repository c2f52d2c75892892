"""Draws a graph or DOT text: by pygraphviz in this process if it is installed, else by `dot`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from sockfsm.diagrams.dot import to_dot
from sockfsm.diagrams.graph import Graph
from sockfsm.diagrams.mermaid import to_mermaid
from sockfsm.diagrams.stamp import stamp
from sockfsm.errors import DrawingError

FORMATS = ("dot", "gv", "svg", "png", "mmd")
_MISSING = (
    "cannot draw: neither `dot` nor pygraphviz is installed; install Graphviz (apt-get install "
    "graphviz) or run `pip install sockfsm[draw]`, or write the text forms (.dot, .mmd)"
)
_graphviz_is_not_reentrant = Lock()
# Sharp on a high-density display, at the width of a README.
_PNG_DPI = "144"


def draw(source: Graph | str, form: str) -> bytes:
    """Draw `source`, a graph or DOT text, as dot, gv, svg, png or mmd. Texts are UTF-8.

    DrawingError for an unknown format, for Mermaid from DOT text, or if no Graphviz is installed.
    """
    if form not in FORMATS:
        raise DrawingError(f"no format {form!r}: choose one of {', '.join(FORMATS)}")
    # Mermaid is drawn from the graph, because DOT has lost what the parts mean.
    if form == "mmd":
        if isinstance(source, str):
            raise DrawingError("cannot turn DOT text into Mermaid: pass the graph")
        return to_mermaid(source).encode()
    dot = source if isinstance(source, str) else to_dot(source)
    if form in ("dot", "gv"):
        return dot.encode()
    scaled = _with_dpi(dot) if form == "png" else dot
    # In-process first: starting `dot` takes longer than drawing.
    picture = _by_pygraphviz(scaled, form) or _by_dot(scaled, form)
    if picture is None:
        raise DrawingError(_MISSING)
    return stamp(picture, form, dot)


def save(source: Graph | str, path: Path | str) -> Path:
    """Draw `source` to the file `path`, in the format of its suffix; returns the path.

    DrawingError for an unknown suffix, a drawing that fails, or a file that cannot be written. The file
    stays untouched if the drawing fails.
    """
    path = Path(path)
    form = path.suffix[1:].lower()
    if form not in FORMATS:
        suffixes = ", ".join(f".{known}" for known in FORMATS)
        raise DrawingError(f"cannot tell the format of {path}: end its name with one of {suffixes}")
    data = draw(source, form)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DrawingError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _by_pygraphviz(dot: str, form: str) -> bytes | None:
    """Draw with pygraphviz, in this process; None if it is not installed."""
    try:
        import pygraphviz
    except ImportError:
        return None
    with _graphviz_is_not_reentrant, _captured_stderr() as messages:
        try:
            drawing = pygraphviz.AGraph(string=dot)
            return bytes(drawing.draw(format=form, prog="dot"))
        except (OSError, ValueError, pygraphviz.DotError) as error:
            reason = _first_line(messages()) or _first_line(str(error))
            raise DrawingError(f"pygraphviz could not draw: {reason}") from error


def _by_dot(dot: str, form: str) -> bytes | None:
    """Draw with the package `graphviz`; None if `dot` is not on the PATH."""
    from subprocess import CalledProcessError

    import graphviz

    try:
        return bytes(graphviz.pipe("dot", form, dot.encode(), quiet=True))
    except graphviz.ExecutableNotFound:
        return None
    except CalledProcessError as error:
        raise DrawingError(f"dot could not draw: {_first_line(error.stderr)}") from error


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture what C code writes to descriptor 2. What is not fontconfig's is passed on at the end.

    The fontconfig in pygraphviz's wheel warns about configuration files newer than itself.
    """
    from tempfile import TemporaryFile

    if sys.stderr is None:
        # The process began with descriptor 2 closed, so 2 may be any file by now.
        yield str
        return
    sys.stderr.flush()
    # Graphviz writes its warnings in C, past sys.stderr.
    kept = os.dup(2)
    with TemporaryFile() as gathered:

        def messages() -> str:
            gathered.seek(0)
            lines = gathered.read().decode("utf-8", "replace").splitlines(keepends=True)
            return "".join(line for line in lines if not line.startswith("Fontconfig"))

        os.dup2(gathered.fileno(), 2)
        failed = True
        try:
            yield messages
            failed = False
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if not failed:
                os.write(2, messages().encode())


def _with_dpi(dot: str) -> str:
    """The DOT text with a resolution for PNG. In an SVG it would change the size of the text."""
    return dot.replace("{", f"{{\n\tgraph [dpi={_PNG_DPI}]", 1)


def _first_line(text: bytes | str | None) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text or ""
    return next((line.strip() for line in shown.splitlines() if line.strip()), "")
