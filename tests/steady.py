"""The whole suite again and again under load, each time in another order; names what failed.

    python tests/steady.py RUNS [--load 8] [--seed N] [--limit SECONDS] [PYTEST'S ARGUMENTS ...]

The load is the suite itself: several run at once, two workers each, so that as many processes compete
as the load says. `pytest --shuffle SEED` gives a run's order again. A run that takes longer than the
limit is ended and counts as failed, with the tests that were being run then.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

WORKERS = 2
BEGUN = re.compile(r"(tests/\S+\.py::.+?) *")
ENDED = re.compile(r"\[gw\d+\] \[ *\d+%\] ([A-Z]+) (.+?) *")
BAD = ("FAILED", "ERROR")


def run(seed: int, place: Path, limit: float, arguments: list[str]) -> tuple[str, list[str]]:
    """One run of the suite: what became of it, and the tests that failed, printed as they do."""
    command = [sys.executable, "-m", "pytest", "-v", "-n", str(WORKERS), "--dist", "worksteal"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(place / str(seed))]
    command += ["--shuffle", str(seed), *arguments]
    failed: dict[str, None] = {}
    begun: dict[str, None] = {}
    late = threading.Event()
    with (
        (place / f"{seed}.txt").open("w") as said,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        ) as process,
    ):

        def end() -> None:
            late.set()
            # The workers, and what the tests started in this session, too.
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, end)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            said.write(line)
            said.flush()
            text = line.rstrip("\n")
            if first := BEGUN.fullmatch(text):
                begun[first[1]] = None
            if last := ENDED.fullmatch(text):
                begun.pop(last[2], None)
                if last[1] in BAD and last[2] not in failed:
                    failed[last[2]] = None
                    print(f"--shuffle {seed}: FAILED {last[2]}", flush=True)
        status = process.wait()
        timer.cancel()
    if late.is_set():
        return f"took longer than {limit:.0f} s, in {' '.join(begun)}", [*failed, *begun]
    return f"exit status {status}" if status else "", [*failed]


def main() -> int:
    """Exit status 0 when every run passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=int)
    parser.add_argument("--load", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--limit", type=float, default=3600, help="seconds for each run")
    parser.add_argument("-q", action="store_true", dest="quiet", help="failures and the end only")
    chosen, arguments = parser.parse_known_args()
    place = Path(tempfile.mkdtemp(prefix="steady-"))
    if not chosen.quiet:
        print(f"what each run says: {place}/SEED.txt", flush=True)
    failures: Counter[str] = Counter()
    bad = 0
    with ThreadPoolExecutor(max(1, chosen.load // WORKERS)) as pool:
        seeds = range(chosen.seed, chosen.seed + chosen.runs)
        runs = {pool.submit(run, seed, place, chosen.limit, arguments): seed for seed in seeds}
        for done in as_completed(runs):
            problem, names = done.result()
            failures.update(names)
            bad += bool(problem)
            if problem or not chosen.quiet:
                print(f"--shuffle {runs[done]}: {problem or 'passed'}", flush=True)
    print(f"{chosen.runs} runs under load {chosen.load}, {bad} with failures")
    for name, count in failures.most_common():
        print(f"{count:4d} {name}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
