"""The form of a machine: ordered rules over orthogonal parts. It knows nothing of sockets.

A socket's situation is the product of a few independent *parts* (descriptor, name, role, read
side, write side, ...). A *rule* says what one call does in all situations that fit its `when`:

    rule("bind", "name=yes", "EINVAL", why="...", source="bind(2)")

Rules are ordered and the first that fits wins. Two questions are answered by the same table:

* predicting: the environment is known (`given`), the first fitting rule gives the outcome;
* watching: the outcome is known, the first fitting rule *with that outcome* gives the next state,
  one that holds in the reference environment before one that needs another environment.

A rule without `given` holds in every environment. In the situations that it fits, later rules of the
same call are never reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

OK = "ok"
EOF = "eof"
WOULD_BLOCK = "EAGAIN"
# Of a protocol above sockets: the request was taken, and more is asked for.
CONTINUE = "continue"
# Not a refusal: the call was taken, or has to be repeated later.
ACCEPTED = frozenset({OK, EOF, WOULD_BLOCK, "EINPROGRESS", "EALREADY", CONTINUE})

# Calls that take no descriptor: a rule for `*` is not about them.
WITHOUT_DESCRIPTOR = frozenset({"resolve", "unlink", "create", "socketpair", "accepted", "exit"})

_MIDDLE = (
    *("bind", "listen", "accept", "connect", "send", "recv"),
    *("shutdown_rd", "shutdown_wr", "shutdown_rdwr", "disconnect", "so_error"),
)
_ASIDE = frozenset({"history=partial", "length=zero", "asked=nobody"})

Parts = tuple[str, ...]
_Tests = tuple[tuple[int, frozenset[str]], ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """One `name=a|b` or `name!=a` of a `when` or `given` string."""

    name: str
    values: frozenset[str]
    negated: bool = False

    def holds(self, value: str) -> bool:
        return (value in self.values) != self.negated

    def __str__(self) -> str:
        return f"{self.name}{'!=' if self.negated else '='}{'|'.join(sorted(self.values))}"


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Parse `"role=fresh|connecting name!=no"`; ValueError names a word that is no condition."""
    conditions = []
    for word in text.split():
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise ValueError(f"{word!r} is no condition: write part=value, part=a|b or part!=value")
        negated = name.endswith("!")
        conditions.append(Condition(name.rstrip("!"), frozenset(values.split("|")), negated))
    return tuple(conditions)


@dataclass(frozen=True, slots=True)
class Rule:
    """(call, when, given) -> outcome, then; with the reason and where it stands written.

    aside: the rule only explains an outcome, and must not be relied on (something happened to the
    socket unseen, or the call asks for nothing). It does not make the call legal.
    """

    call: str
    when: tuple[Condition, ...]
    outcome: str
    then: Mapping[str, str]
    given: tuple[Condition, ...]
    why: str
    source: str
    lint: str = ""
    note: str = ""
    aside: bool = False

    @property
    def refused(self) -> bool:
        """The kernel rejects the call with an errno that is not `call again later`."""
        return self.outcome not in ACCEPTED


def rule(  # noqa: PLR0913 - the columns of the table
    call: str,
    when: str,
    outcome: str,
    then: str = "",
    *,
    given: str = "",
    why: str,
    source: str,
    lint: str = "",
    note: str = "",
    aside: bool = False,
) -> Rule:
    """One line of a machine's table; see the module's docstring.

    then: the parts that change ("role=listening name=yes"). lint: the mistake that the call almost
    always is, although the kernel lets it through. note: how POSIX or the BSDs differ. aside: implied
    by history=partial and length=zero.
    """
    changes = dict(word.split("=", 1) for word in then.split())
    facts = parse_conditions(given)
    aside = aside or any(str(fact) in _ASIDE for fact in facts)
    return Rule(
        call,
        parse_conditions(when),
        outcome,
        changes,
        facts,
        why,
        source,
        lint,
        note,
        aside,
    )


def _fit(parts: Parts, tests: _Tests) -> bool:
    # A plain loop: all() over a generator takes three times as long, and making a machine asks this
    # a hundred thousand times.
    for index, values in tests:  # noqa: SIM110
        if parts[index] not in values:
            return False
    return True


@dataclass(frozen=True)
class Table:
    """A kind's machine as data.

    parts: part name -> its possible values, the initial one first.
    environment: fact name -> its possible values, that of the reference environment first.
    words: what each part and each fact of the environment means, in one sentence.
    names: ordered (conditions, template). The first one that fits names a flat state; a template that
    begins with `+` appends to the name so far.
    """

    kind: str
    title: str
    parts: Mapping[str, tuple[str, ...]]
    environment: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...]
    names: tuple[tuple[str, str], ...]
    words: Mapping[str, str] = field(default_factory=dict)
    _index: dict[str, list[tuple[Rule, _Tests]]] = field(
        default_factory=dict, init=False, repr=False
    )
    _names: list[tuple[_Tests, str]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for when, template in self.names:
            conditions = parse_conditions(when)
            self._check(conditions, self.parts, template)
            self._names.append((self._tests(conditions), template))
        for entry in self.rules:
            self._check(entry.when, self.parts, entry.call)
            self._check(entry.given, self.environment, entry.call)
            for part, value in entry.then.items():
                if value not in self.parts.get(part, ()):
                    raise ValueError(f"{self.kind}: {entry.call}: then {part}={value} is unknown")

    def _check(
        self, conditions: tuple[Condition, ...], known: Mapping[str, tuple[str, ...]], where: str
    ) -> None:
        for condition in conditions:
            unknown = condition.values - set(known.get(condition.name, ()))
            if unknown:
                raise ValueError(
                    f"{self.kind}: {where}: {condition.name}={'|'.join(sorted(unknown))} is unknown"
                )

    @property
    def calls(self) -> tuple[str, ...]:
        """The call words, in the order of their first rules; _MIDDLE comes last."""
        words = dict.fromkeys(entry.call for entry in self.rules if entry.call != "*")
        middle = _MIDDLE if "create" in words else ()
        return tuple(sorted(words, key=lambda word: middle.index(word) if word in middle else -1))

    @property
    def initial(self) -> Parts:
        return tuple(values[0] for values in self.parts.values())

    @property
    def reference(self) -> dict[str, str]:
        """The reference environment: fact -> value."""
        return {name: values[0] for name, values in self.environment.items()}

    def fitting(
        self, call: str, parts: Parts, facts: Mapping[str, str] | None = None
    ) -> Iterator[Rule]:
        """The rules that may apply to `call` in this situation, in order, down to one without `given`.

        facts: what is known of the environment; rules that contradict it are left out.
        """
        for entry, tests in self._rules_of(call):
            if not _fit(parts, tests):
                continue
            given = entry.given
            if facts and given:
                if not all(c.name not in facts or c.holds(facts[c.name]) for c in given):
                    continue
                given = tuple(c for c in given if c.name not in facts)
            yield entry
            if not given:
                return

    def _rules_of(self, call: str) -> list[tuple[Rule, _Tests]]:
        found = self._index.get(call)
        if found is None:
            words = (call,) if call in WITHOUT_DESCRIPTOR else (call, "*")
            found = [(e, self._tests(e.when)) for e in self.rules if e.call in words]
            self._index[call] = found
        return found

    def _tests(self, conditions: tuple[Condition, ...]) -> _Tests:
        """Conditions as (index of the part, the values that fit), which is fast to check."""
        order = list(self.parts)
        return tuple(
            (order.index(c.name), frozenset(v for v in self.parts[c.name] if c.holds(v)))
            for c in conditions
        )

    def predict(self, call: str, parts: Parts, environment: Mapping[str, str]) -> Rule | None:
        """The first rule that fits call, parts and environment."""
        for entry in self.fitting(call, parts):
            if all(condition.holds(environment[condition.name]) for condition in entry.given):
                return entry
        return None

    def after(self, entry: Rule, parts: Parts) -> Parts:
        """The parts after `entry`."""
        return tuple(
            entry.then.get(name, value) for name, value in zip(self.parts, parts, strict=True)
        )

    def name(self, parts: Parts) -> str:
        """The name of the flat state, derived from the parts."""
        name = ""
        for tests, template in self._names:
            if not all(parts[index] in values for index, values in tests):
                continue
            if template.startswith("+"):
                name += template[1:]
            elif not name:
                name = template
        return name
