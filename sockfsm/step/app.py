"""The terminal application: panes, keys, and what a key does."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Static

from sockfsm.sim.stepping.stepper import Stepper
from sockfsm.step import drawing


class Stepping(App[None]):
    """Steps through a scenario. at_once: steps between two looks at the keyboard."""

    CSS = """
    Static { width: 1fr; }
    #title { height: 1; }
    #packets { margin-right: 1; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space,enter", "forward", "next", key_display="→", priority=True),
        Binding("left,backspace", "undo", "back", key_display="←", priority=True),
        Binding("down", "choose(1)", "choose", key_display="↑↓", priority=True),
        Binding("up", "choose(-1)", show=False, priority=True),
        Binding("x", "lose", "lose"),
        Binding("r", "refusal", "refusal"),
        Binding("e,end", "end", "end", key_display="e", priority=True),
        Binding("s,home", "start", "start", key_display="s", priority=True),
        Binding("t", "light", "light"),
        Binding("q,ctrl+c", "leave", "quit", key_display="q", priority=True),
        *(Binding(str(key), f"take({key})", show=False) for key in range(1, 10)),
    ]

    def __init__(self, stepper: Stepper, command: str = "") -> None:
        super().__init__()
        self.title = command
        self.stepper = stepper
        self.chosen = 0
        self.at_once = 500
        self._going = False

    def compose(self) -> ComposeResult:
        """The panes, from above."""
        yield Static(id="title")
        yield Static(id="actors")
        yield Static(id="sockets")
        with Horizontal(id="middle"):
            yield Static(id="packets")
            yield Static(id="choices")
        yield Static(id="last")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Show the beginning."""
        self._moved()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    # Keys

    def action_forward(self) -> None:
        """Let the chosen event happen."""
        self._take(self.chosen)

    def action_take(self, number: int) -> None:
        """Let the event with this number happen."""
        self._take(number - 1)

    def action_lose(self) -> None:
        """Lose the chosen packet, or the first one."""
        found = self.stepper.view.choices
        order = [self.chosen, *range(len(found))]
        for place in order:
            if place < len(found) and found[place].packet is not None:
                self._take(place, lose=True)
                return
        self._stop("no packet is in flight")

    def action_undo(self) -> None:
        """Undo the last step."""
        self._stop()
        self.stepper.back()
        self._moved()

    def action_start(self) -> None:
        """Undo all steps."""
        self._stop()
        self.stepper.to_start()
        self._moved()

    def action_refusal(self) -> None:
        """Go on until a call is refused."""
        self._go(True)

    def action_end(self) -> None:
        """Go on to the end."""
        self._go(False)

    def action_choose(self, by: int) -> None:
        """Choose another event."""
        count = len(self.stepper.view.choices)
        self.chosen = (self.chosen + by) % count if count else 0
        self._stop()

    def action_light(self) -> None:
        """Change between a dark and a light background."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"
        self._draw()

    def action_leave(self) -> None:
        """End."""
        self.exit()

    # What they do

    def _take(self, place: int, *, lose: bool = False) -> None:
        self._stop()
        found = self.stepper.view.choices
        if place < len(found):
            self.stepper.step(found[place].number, lose=lose)
        self._moved()

    def _go(self, to_refusal: bool) -> None:
        """Go on for long: any key stops it."""
        if not self._going:
            self._going = True
            self._went(to_refusal)

    def _went(self, to_refusal: bool) -> None:
        if not self._going:
            return
        self._going = self.stepper.go_on(to_refusal=to_refusal, most=self.at_once)
        self._moved("goes on, any key stops" if self._going else "")
        if self._going:
            self.call_later(self._went, to_refusal)

    def _stop(self, note: str = "") -> None:
        self._going = False
        self._draw(note)

    def _moved(self, note: str = "") -> None:
        view = self.stepper.view
        numbers = [choice.number for choice in view.choices]
        self.chosen = numbers.index(view.chosen) if view.chosen in numbers else 0
        self._draw(note)

    def _draw(self, note: str = "") -> None:
        if not self.query("#last"):
            return
        view, size = self.stepper.view, self.size
        look = drawing.DARK if self.current_theme.dark else drawing.LIGHT
        if self.no_color:
            look = drawing.MONO
        for name, text in drawing.panes(view, size, self.chosen, look, note).items():
            self.query_one(f"#{name}", Static).update(text)
        sizes = drawing.heights(view, size.height)
        for name in sizes._fields:
            self.query_one(f"#{name}").styles.height = getattr(sizes, name)
        for name, width in zip(("packets", "choices"), drawing.halves(size.width), strict=True):
            self.query_one(f"#{name}").styles.width = width
