"""Splits by source: what shares a text, a score or its very content is never parted.

Clips are nodes, shared keys are edges; connected components go to splits as wholes. Within a
stratum (a domain, a collection, a category) components are ordered by the hash of their first key
and dealt out in turn, so that the result depends on names alone, and small strata reach all splits.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

PATTERN = tuple(
    {"a": "train", "v": "valid", "t": "test"}[letter] for letter in "atavaataavaataavaaaa"
)
"""70 % train, 15 % valid, 15 % test."""


def components(keys: Sequence[Sequence[str]]) -> list[str]:
    """Name the component of each clip by the first of its keys, in the order of letters."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for shared in keys:
        for key in shared:
            one, other = sorted((root(shared[0]), root(key)))
            parent[other] = one
    return [root(shared[0]) for shared in keys]


def deal(groups: Sequence[str], strata: Sequence[str]) -> list[str]:
    """Name the split of each clip from its component and its stratum.

    A component in several strata counts in the first of them, in the order of letters.
    """
    homes: dict[str, str] = {}
    for group, stratum in zip(groups, strata, strict=True):
        homes[group] = min(stratum, homes.get(group, stratum))
    members = defaultdict(list)
    for group, stratum in homes.items():
        members[stratum].append(group)
    splits: dict[str, str] = {}
    for names in members.values():
        for place, name in enumerate(sorted(names, key=_hash)):
            splits[name] = PATTERN[place % len(PATTERN)]
    return [splits[group] for group in groups]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
