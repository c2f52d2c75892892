"""Who is blocked for ever, and on whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sockfsm.sim.programs.actor import Actor
from sockfsm.sim.programs.threads import Handle, Lock, RLock
from sockfsm.sim.programs.world import Finding
from sockfsm.sim.sockets import VirtualSocket

if TYPE_CHECKING:
    from sockfsm.sim.programs.process import Process
    from sockfsm.sim.programs.world import World


def deadlocks(world: World, living: Iterable[Process]) -> list[Finding]:
    """A finding for each actor that nothing can wake any more."""
    found = []
    for process in living:
        for actor in process.actors:
            if actor.waits:
                text = f"{actor.name} is blocked for ever in {_what(actor)}{_whom(world, actor)}"
                found.append(Finding("deadlock", actor.site, text))
    return found


def _what(actor: Actor) -> str:
    thing, about = actor.about
    if isinstance(thing, VirtualSocket):
        return f"{about} ({thing.state})"
    return about


def _whom(world: World, actor: Actor) -> str:
    others = list(dict.fromkeys(_awaited(world, actor)))
    if not others:
        return ""
    return ": it waits for " + ", ".join(_doing(other) for other in others)


def _doing(actor: Actor) -> str:
    if not actor.waits:
        return f"{actor.name}, which has ended"
    return f"{actor.name}, blocked in {actor.about[1]} at {actor.site}"


def _awaited(world: World, actor: Actor) -> list[Actor]:
    """Who could end its wait."""
    thing = actor.about[0]
    if isinstance(thing, Handle):
        return [thing.actor] if thing.actor is not None else []
    if isinstance(thing, Lock) and thing.of is not None:
        return [thing.of]
    if isinstance(thing, Lock | RLock):
        holder = thing.holder
        return [holder] if holder is not None and holder is not actor else []
    sockets = thing if isinstance(thing, list | tuple) else [thing]
    return [
        other
        for sock in sockets
        if isinstance(sock, VirtualSocket)
        for other in _peers(world, sock)
        if other is not actor
    ]


def _peers(world: World, sock: VirtualSocket) -> list[Actor]:
    """The threads that hold the other end."""
    for process in world.processes:
        for other in process.descriptors.values():
            if isinstance(other, VirtualSocket) and other is not sock and _linked(sock, other):
                return [
                    actor for actor in process.actors if actor.waits and _holds(actor, other)
                ] or process.actors[:1]
    return []


def _linked(sock: VirtualSocket, other: VirtualSocket) -> bool:
    if sock.tcb is not None and other.tcb is not None:
        return sock.tcb.local == other.tcb.remote and sock.tcb.remote == other.tcb.local
    return sock.end is not None and other.end is not None and sock.end.peer is other.end


def _holds(actor: Actor, sock: VirtualSocket) -> bool:
    thing = actor.about[0]
    return thing is sock or (isinstance(thing, list | tuple) and sock in thing)
