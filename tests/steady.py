"""The whole suite again and again under load, each time in another order; names what failed.

    python tests/steady.py RUNS [--load 8] [--seed N] [PYTEST'S ARGUMENTS ...]

The load is the suite itself: several run at once, two workers each, so that as many processes compete
as the load says. `pytest --shuffle SEED` gives a run's order again.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

WORKERS = 2
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+(?:\[[^]]*\])?)", re.MULTILINE)


def run(seed: int, place: Path, arguments: list[str]) -> tuple[int, list[str]]:
    """One run of the suite: its exit status, and the tests that failed."""
    command = [sys.executable, "-m", "pytest", "-n", str(WORKERS), "--dist", "worksteal"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(place / str(seed))]
    said = place / f"{seed}.txt"
    with said.open("w") as output:
        status = subprocess.run(
            [*command, "--shuffle", str(seed), *arguments], stdout=output, stderr=output
        ).returncode
    return status, FAILED.findall(said.read_text())


def main() -> int:
    """Exit status 0 when every run passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=int)
    parser.add_argument("--load", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    chosen, arguments = parser.parse_known_args()
    place = Path(tempfile.mkdtemp(prefix="steady-"))
    print(f"what each run says: {place}/SEED.txt", flush=True)
    failures: Counter[str] = Counter()
    bad = 0
    with ThreadPoolExecutor(max(1, chosen.load // WORKERS)) as pool:
        seeds = range(chosen.seed, chosen.seed + chosen.runs)
        runs = {pool.submit(run, seed, place, arguments): seed for seed in seeds}
        for done in as_completed(runs):
            status, names = done.result()
            failures.update(names)
            bad += status != 0
            verdict = " ".join(names) or f"exit status {status}" if status else "passed"
            print(f"--shuffle {runs[done]}: {verdict}", flush=True)
    print(f"{chosen.runs} runs under load {chosen.load}, {bad} with failures")
    for name, count in failures.most_common():
        print(f"{count:4d} {name}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
