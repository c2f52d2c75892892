"""Fetches URLs with urllib and prints how long the answers are."""

import sys
from urllib.request import urlopen

for url in sys.argv[1:]:
    with urlopen(url, timeout=30) as answer:
        print(answer.status, len(answer.read()))
