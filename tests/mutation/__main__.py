"""Changes the code in one place and runs the tests: `python tests/mutation --count 66 --seed 1`.

Mutations are drawn at random, as many of each part, and each is made in a copy of the tree, in a
network and process namespace of its own: so nothing that a mutant does outlives it, or is seen by
another. One that the tests notice is killed, and so is one that makes them hang. One that they do
not notice either shows what no test looks at, or changes nothing that anybody could see: then
`explained.txt` has it, with the reason.

The tests that come to the changed function are run first, the quickest of them at the beginning, and
then the others of its part. Which come to it is learnt once, and kept beside the virtual environment
(`--learn` learns anew).

The tests that compare generated files with what is generated are left out, and the shipped machines
are made anew: they say that something has changed, which is known, and not that it is wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from explained import explained
from mutations import Mutation, mutations, parses
from parts import IN_STEP, MACHINES, PARTS, of_another_kind, tests_for
from reached import Reached, function_at

ROOT = Path(__file__).parents[2]
LEARNT = Path(sys.prefix) / "mutants-reached.json"
ALLOWED = 0.05
SILENCE = 60
"""Seconds without a test that ends, after which a mutant hangs."""
OUT_OF_TIME = "not judged in time"
JUDGED = ("survived", "explained")
ALONE = (
    *("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *(() if os.geteuid() == 0 else ("--user", "--map-current-user", "--keep-caps")),
    *("sh", "-c", 'ip link set lo up && exec "$@"', "alone"),
)


class Copy:
    """A copy of the tree with a virtual environment of its own, in which all is run."""

    def __init__(
        self, folder: Path, reached: Reached | None = None, limit: float = math.inf
    ) -> None:
        self.folder = folder
        self.limit = limit
        self.until = math.inf
        self.root = folder / "tree"
        self.reached = reached
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        self._environment()
        self.meaning = self._run("tests/mutation/meaning.py").stdout
        self.broken: set[str] = set()
        """Tests that fail without a mutation, too, in this copy."""
        self.sound: set[str] = set()

    def _environment(self) -> None:
        own = self.root / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", own], check=True)
        packages = next(own.glob("lib/python*/site-packages"))
        shared = next(Path(sys.prefix).glob("lib/python*/site-packages"))
        # A path in a .pth is searched, but its .pth files, which name the checkout, are not run.
        (packages / "tree.pth").write_text(
            f"{self.root}\n{shared}\n{self.root / 'tests/mutation'}\n"
        )
        for script in ("sockfsm", "pytest"):
            text = (Path(sys.prefix) / "bin" / script).read_text()
            (own / "bin" / script).write_text(text.replace(sys.prefix, str(own)))
            (own / "bin" / script).chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "PATH": f"{own / 'bin'}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(own),
            "PYTHONDONTWRITEBYTECODE": "1",  # a .pyc is taken for one of its second
        }

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / ".venv/bin/python", *arguments], cwd=self.root, env=self.environment,
            capture_output=True, text=True, timeout=SILENCE, check=False,
        )  # fmt: skip

    def verdict(self, mutation: Mutation) -> str:
        """`same` (the rules say what they said), `survived`, or what killed it."""
        path = self.root / mutation.path
        source, machines = path.read_bytes(), (self.root / MACHINES).read_bytes()
        path.write_bytes(mutation.applied(source))
        self.until = time.monotonic() + self.limit
        try:
            if mutation.path.startswith("sockfsm/model/"):
                meaning = self._run("tests/mutation/meaning.py")
                if meaning.stdout == self.meaning and tests_for(mutation.path)[0] == "rules":
                    return "same"
                made = self._run("-m", "sockfsm.model")
                if meaning.returncode or made.returncode:
                    return "no machine comes of it"
            return self.tested(mutation)
        except subprocess.TimeoutExpired:
            return "no machine comes of it in time"
        finally:
            path.write_bytes(source)
            (self.root / MACHINES).write_bytes(machines)

    def learn(self, parts: list[str]) -> Reached:
        """Run all tests of these parts once, and see what each comes to."""
        output, seconds = self.folder / "reached", self.folder / "seconds"
        files = sorted({file for part in parts for file in tests_for(PARTS[part].example)[1]})
        packages = next((self.root / ".venv").glob("lib/python*/site-packages"))
        (packages / "zz-heard.pth").write_text("import heard; heard.begin()\n")
        self.environment |= {
            "MUTANTS_REACHED": str(output), "MUTANTS_ROOT": str(self.root),
            "MUTANTS_SECONDS": str(seconds),
        }  # fmt: skip
        self.failing(files)
        return Reached.learnt(self.root, output, json.loads(seconds.read_text()))

    def tested(self, mutation: Mutation) -> str:
        """The first test that fails, again when it runs alone, and not without the mutation."""
        part_files = tests_for(mutation.path)[1]
        source = (ROOT / mutation.path).read_bytes()
        function = function_at(source, source.count(b"\n", 0, mutation.start) + 1)
        assert self.reached is not None
        first = self.reached.first(f"{mutation.path}::{function}", part_files)
        others = [test for test in self.reached.seconds if of_another_kind(mutation.path, test)]
        for tests, rest in ((first, False), ([*first, *others], True)):
            while failed := self._ordered(tests, rest, part_files):
                if failed == OUT_OF_TIME:
                    # What all tests that come to the change let pass is no mere matter of time.
                    return "survived" if rest and first else failed
                if "::" not in failed or self._killed_by(failed, mutation.path):
                    return failed
                print(f"fails now and then, and is left out: {failed}", file=sys.stderr)
                self.broken.add(failed)
        return "survived"

    def _ordered(self, tests: list[str], rest: bool, files: list[str]) -> str:
        """The first of these tests that fails; rest: of those in the files that are none of them."""
        order = self.folder / "order"
        order.write_text(json.dumps({"tests": tests, "rest": rest}))
        chosen = set(files) if rest else {test.partition("::")[0] for test in tests}
        if not chosen:
            return ""
        self.environment["MUTANTS_ORDER"] = str(order)
        try:
            return self.failing(["-x", *(file for file in files if self._has(file, chosen))])
        finally:
            del self.environment["MUTANTS_ORDER"]

    @staticmethod
    def _has(file: str, chosen: set[str]) -> bool:
        return any(path == file or path.startswith(f"{file}/") for path in chosen)

    def _killed_by(self, test: str, changed: str) -> bool:
        """Whether the test fails again, and only because of the mutation."""
        until, self.until = self.until, math.inf
        try:
            return bool(self.failing([test])) and self._sound(test, changed)
        finally:
            self.until = until

    def _sound(self, test: str, changed: str) -> bool:
        if test not in self.sound:
            mutated = {path: (self.root / path).read_bytes() for path in (changed, MACHINES)}
            for path in mutated:
                shutil.copy2(ROOT / path, self.root / path)
            if not self.failing([test]):
                self.sound.add(test)
            for path, content in mutated.items():
                (self.root / path).write_bytes(content)
        return test in self.sound

    def failing(self, arguments: list[str]) -> str:
        """The first test that fails, `hangs`, or '' when all is well."""
        left_out = [word for test in (IN_STEP, *self.broken) for word in ("--deselect", test)]
        command = [
            *(*ALONE, self.root / ".venv/bin/python", "-m", "pytest", "-v", "--tb=no", "-rfE"),
            *("-p", "no:cacheprovider", "-p", "ordered", *left_out, *arguments),
        ]
        with tempfile.TemporaryFile() as output:
            running = subprocess.Popen(
                command, cwd=self.root, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip
            heard, size = time.monotonic(), 0
            while running.poll() is None:
                time.sleep(0.05)
                now = os.fstat(output.fileno()).st_size
                if now != size:
                    heard, size = time.monotonic(), now
                late = time.monotonic() > self.until
                if late or time.monotonic() - heard > SILENCE:
                    running.kill()
                    running.wait()
                    return OUT_OF_TIME if late else "hangs"
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
        if running.returncode in (0, 5):  # 5: none of the tests is left
            return ""
        failed = [line.partition(" ")[2] for line in lines if line.startswith(("FAILED", "ERROR "))]
        return failed[0].partition(" - ")[0] if failed else (lines or ["ended"])[-1]


def drawn(part: str, rng: random.Random, only: list[str]) -> list[Mutation]:
    """The mutations of a part, in random order; some are no Python."""
    paths = (str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("sockfsm/**/*.py")))
    names = [path for path in paths if not only or any(word in path for word in only)]
    found = [
        mutation
        for name in names
        if tests_for(name)[0] == part
        for mutation in mutations(name, (ROOT / name).read_bytes())
    ]
    rng.shuffle(found)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=66, help="how many mutants (66)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (1)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--part", choices=PARTS, action="append", help="of this part alone")
    parser.add_argument(
        "--learn", action="store_true", help="learn anew what the tests (of --part) come to"
    )
    parser.add_argument(
        "--only", default=[], action="append", help="of modules with this in their path alone"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=math.inf,
        help="seconds for each mutant (as many as it takes)",
    )
    options = parser.parse_args()
    parts = options.part or list(PARTS)
    explanations = explained()
    counts: dict[str, Counter[str]] = {part: Counter() for part in parts}
    survivors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: Queue[Copy] = Queue()
        if options.learn or not LEARNT.is_file():
            print("learning which functions each test comes to", file=sys.stderr, flush=True)
            learnt = Copy(Path(folder) / "learning").learn(parts)
            known = Reached.read(LEARNT) if options.part and LEARNT.is_file() else Reached({}, {})
            known.joined(learnt).write(LEARNT)
        reached = Reached.read(LEARNT)
        for number in range(options.jobs):
            copies.put(Copy(Path(folder) / str(number), reached, options.limit))

        def one(part: str, source: Iterator[Mutation], number: int) -> None:
            verdict = "same"
            while verdict == "same" and (mutation := next(source, None)):
                if not parses(mutation.applied((ROOT / mutation.path).read_bytes())):
                    continue
                copy = copies.get()
                try:
                    verdict = copy.verdict(mutation)
                finally:
                    copies.put(copy)
            if verdict == "same" or mutation is None:
                return
            lines = mutation.diff((ROOT / mutation.path).read_bytes())
            diff = "\n".join((mutation.path, *lines))
            if verdict == "survived" and diff in explanations:
                verdict = "explained"
            counts[part][verdict if verdict in (*JUDGED, OUT_OF_TIME) else "killed"] += 1
            if verdict == "survived":
                survivors.append(diff)
            print(f"{part} {number}: {diff}\n  {verdict}", flush=True)

        sources = {
            part: iter(drawn(part, random.Random(f"{part} {options.seed}"), options.only))
            for part in parts
        }
        with ThreadPoolExecutor(options.jobs) as pool:
            for number in range(options.count):
                part = parts[number % len(parts)]
                pool.submit(one, part, sources[part], number)

    made = sum(count.total() - count[OUT_OF_TIME] for count in counts.values())
    print(f"\n{'part':8}{'judged':>8}{'killed':>8}{'survived':>10}{'explained':>11}")
    for part, count in counts.items():
        judged = count.total() - count[OUT_OF_TIME]
        print(f"{part:8}{judged:8}{count['killed']:8}{count['survived']:10}{count['explained']:11}")
    print(f"\n{len(survivors)} of {made} survived and are not explained ({ALLOWED:.0%} may)")
    for diff in survivors:
        print(f"\n{diff}")
    return len(survivors) > ALLOWED * made


if __name__ == "__main__":
    sys.exit(main())
