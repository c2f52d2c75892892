"""Scenarios made at random: two or three actors of any kind, who take turns as the marks say."""

from __future__ import annotations

from hypothesis import strategies as st

from sockfsm.model.kinds import KINDS

CALLS = (
    *("bind", "listen", "connect", "connect", "accept", "accept", "send", "recv", "send", "recv"),
    *("shutdown", "so_error", "close", "disconnect", "sendto", "sendall", "again", "set", "dup"),
    *("unlink", "timeout"),
)
WORDS = {
    "send": ('"abc"', '"x" * 3000', '""', '"y" * 70000'),
    "sendall": ('"abc"', '"z" * 20000', '"abc"', '"abc"'),
    "recv": ("", "1", "2000", ""),
    "listen": ("0", "1", "5", "1"),
    "shutdown": ("rd", "wr", "both", "wr"),
    "timeout": ("0", "0", "20ms", "0"),
    "set": ("reuse", "nodelay", "linger", "reuse"),
}
PORTS = ("7001", "7002", "7003")
PATHS = ("one.sock", "two.sock", "three.sock")


class Script:
    """The lines of all actors; whoever's turn it is, the others wait for his mark."""

    def __init__(self, actors: str) -> None:
        self.lines: dict[str, list[str]] = {actor: [] for actor in actors}
        self._turn = actors[0]
        self._marks = 0

    def add(self, actor: str, *lines: str) -> None:
        """The actor's next lines, after all that was added before."""
        if actor != self._turn:
            self._marks += 1
            self.lines[self._turn].append(f"mark m{self._marks}")
            self.lines[actor].append(f"after m{self._marks}")
            self._turn = actor
        self.lines[actor] += lines

    def text(self) -> str:
        """The scenario. Nobody leaves before the others have done."""
        actors = list(self.lines)
        for actor in actors:
            self.lines[actor].append(f"mark end-{actor}")
        for actor in actors:
            self.lines[actor] += [f"after end-{other}" for other in actors if other != actor]
        return "\n".join(
            "\n    ".join((f"{actor}:", *lines)) for actor, lines in self.lines.items()
        )


@st.composite
def scenarios(draw: st.DrawFn, calls: tuple[str, ...] = CALLS, most: int = 14) -> str:
    """The text of one."""
    actors = draw(st.sampled_from(("ab", "ab", "abc")))
    kind = draw(st.sampled_from(KINDS))
    other = draw(st.sampled_from(KINDS)) if draw(st.integers(0, 9)) == 0 else kind
    paths = kind.startswith("unix")
    if paths != other.startswith("unix"):
        other = kind
    names = dict(zip(actors, PATHS if paths else PORTS, strict=False))
    kinds = {actor: other if actor == actors[-1] else kind for actor in actors}
    script = Script(actors)
    known: dict[str, list[str]] = {}
    for place, actor in enumerate(actors):
        wait = draw(st.sampled_from(("0", "0", "0", "20ms")))
        script.add(actor, f"{actor} = socket {kinds[actor]}", f"{actor}.timeout {wait}")
        known[actor] = [actor]
        if draw(st.booleans()):
            script.add(actor, f"{actor}.bind {names[actor]}")
        if place == 0 and "dgram" not in kind and kind != "udp" and draw(st.integers(0, 3)):
            script.add(actor, f"{actor}.listen {draw(st.integers(0, 2))} ?")
    step = st.tuples(
        st.sampled_from(actors), st.sampled_from(calls), st.integers(0, 3), st.integers(0, 2)
    )
    steps = draw(st.lists(step, min_size=2, max_size=most))
    for made, (actor, call, pick, where) in enumerate(steps):
        sock = known[actor][where % len(known[actor])]
        others = [name for who, name in names.items() if who != actor] or [names[actor]]
        target = names[actor] if pick == 3 and where == 2 else others[pick % len(others)]
        if call == "accept":
            script.add(actor, f"{sock}.accept -> {actor}{made} ?", f"{actor}{made}.timeout 0")
            known[actor].append(f"{actor}{made}")
        elif call == "dup":
            script.add(actor, f"{actor}{made} = dup {sock}", f"{actor}{made}.timeout 0")
            known[actor].append(f"{actor}{made}")
        elif call == "again":
            script.add(actor, f"{sock} = socket {kinds[actor]}", f"{sock}.timeout 0")
        elif call == "unlink":
            script.add(actor, f"unlink {PATHS[pick % 3]} ?") if paths else None
        elif call == "bind":
            name = names[actor] if pick else target
            script.add(actor, f"{sock}.bind {name} ?")
        elif call == "connect":
            script.add(actor, f"{sock}.connect {target} ?")
        elif call == "sendto":
            script.add(actor, f'{sock}.sendto {target} "to" ?')
        elif call in ("set", "timeout"):
            word = WORDS[call][pick]
            word = "reuse" if word == "nodelay" and kinds[actor] != "tcp" else word
            script.add(actor, f"{sock}.{call} {word}")
        else:
            word = WORDS.get(call, ("",) * 4)[pick]
            script.add(actor, f"{sock}.{call} {word} ?".replace("  ", " "))
    return script.text()
