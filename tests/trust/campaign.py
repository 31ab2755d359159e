"""Write docs/trust.md: every kind of bad input at every door, and stages killed at any moment.

    python -m tests.trust.campaign --output docs/trust.md
    python -m tests.trust.campaign --moments 2 --minutes 5     a look, printed

Kinds are in tests/trust/kinds.py, formats in tests/trust/fuzz.py, stages in tests/trust/world.py.
What is tried is the same in every campaign with the same seed; moments are shares of the time that
a stage takes, so what they hit is not.
"""

import argparse
import itertools
import multiprocessing
import os
import platform
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from tests.trust.forks import Done, preload
from tests.trust.fuzz import FORMATS, Mutation, mutation
from tests.trust.kills import Trial, second_run_is_refused, trials
from tests.trust.kinds import kinds
from tests.trust.tries import Try, attempt
from tests.trust.world import COMMANDS, build

MARK = "<!-- What follows is written by tests.trust.campaign. -->"


def main() -> int:
    """Run the campaign; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="the page; printed without it")
    parser.add_argument("--world", type=Path, help="keep the small runs here, for the next time")
    parser.add_argument("--moments", type=int, default=20, help="of each signal: %(default)s")
    parser.add_argument("--mutations", type=int, default=40, help="of each format: %(default)s")
    parser.add_argument("--minutes", type=float, default=240, help="at most: %(default)s")
    parser.add_argument("--every", type=int, default=1, help="only every so many kinds")
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--processes", type=int, default=2, help="at work at once: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    # Read now, not after an hour of work: a page that cannot be read is seen at once.
    before = _above(arguments.output) if arguments.output else ""
    preload()
    with tempfile.TemporaryDirectory() as temporary:
        world = build((arguments.world or Path(temporary) / "world").resolve())
        jobs = _Jobs(world, Path(temporary), time.monotonic() + 60 * arguments.minutes)
        found = _Found()
        # Forks of this process, which has no threads: they fork again.
        with multiprocessing.get_context("fork").Pool(arguments.processes) as pool:
            found.tries = pool.map(jobs.attempt, range(0, len(kinds()), arguments.every))
            mutated = [(name, number) for name in FORMATS for number in range(arguments.mutations)]
            seeds = [(name, 10**6 * arguments.seed + number) for name, number in mutated]
            found.mutated = pool.map(jobs.mutation, seeds)
            found.twice = dict(pool.map(jobs.second_run, COMMANDS))
            moments = itertools.product(range(arguments.moments), arguments.ranks, COMMANDS)
            killed = [(s, ranks, 1000 * arguments.seed + m) for m, ranks, s in moments]
            found.killed = [one for some in pool.map(jobs.kills, killed, 1) for one in some]
    page = "\n".join(_page(found, arguments)) + "\n"
    if arguments.output:
        arguments.output.write_text(f"{before}\n\n{MARK}\n\n{page}", encoding="utf-8")
    else:
        print(page)
    return int(bool(found.problems()) or not all(found.twice.values()))


def _above(page: Path) -> str:
    """What stands above the mark, written by hand."""
    return page.read_text("utf-8").partition(MARK)[0].rstrip() if page.exists() else "# Trust"


@dataclass(frozen=True)
class _Jobs:
    """What the processes of a campaign do; each has a folder of its own."""

    world: Path
    folder: Path
    end: float
    """When no stage is killed any more."""

    @property
    def scratch(self) -> Path:
        return self.folder / str(os.getpid())

    def attempt(self, number: int) -> Try:
        """Try a kind of bad input."""
        found = attempt(kinds()[number], self.world, self.scratch)
        # What makes an input cannot be sent to another process.
        return replace(found, kind=replace(found.kind, make=None))

    def mutation(self, which: tuple[str, int]) -> Mutation:
        """Try a mutation of a format."""
        return mutation(*which, self.world, self.scratch)

    def second_run(self, stage: str) -> tuple[str, bool]:
        """Start a stage where another one is at work."""
        return stage, second_run_is_refused(stage, self.world, self.scratch)

    def kills(self, which: tuple[str, int, int]) -> list[Trial]:
        """Kill a stage, and stop it, at a moment each."""
        stage, ranks, seed = which
        if time.monotonic() > self.end:
            return []
        try:
            return list(trials(stage, self.world, self.scratch, 1, ranks=ranks, seed=seed))
        except RuntimeError as error:
            failed = Done(1, "", str(error), 0.0)
            return [Trial(stage, "SIGTERM", ranks, 0.0, failed, failed, ())]


@dataclass
class _Found:
    """What a campaign has seen."""

    tries: list[Try] = field(default_factory=list)
    mutated: list[Mutation] = field(default_factory=list)
    killed: list[Trial] = field(default_factory=list)
    twice: dict[str, bool] = field(default_factory=dict)
    """Whether a second run in the folder of a stage is refused."""

    def problems(self) -> list[str]:
        """Say what is wrong, an item each."""
        return [
            *(f"{o.kind.door}, {o.kind.name}: {o.problem}" for o in self.tries if o.problem),
            *(f"{o.format}, seed {o.seed}: {o.problem}" for o in self.mutated if o.problem),
            *(
                f"{o.stage}, {o.signal} after {o.moment:.2f} s on {o.ranks} ranks: {o.problem}"
                for o in self.killed
                if o.problem
            ),
        ]


def _page(found: _Found, arguments: argparse.Namespace) -> Iterator[str]:
    yield "# What was tried to break it, and what came of it"
    yield ""
    yield (
        "Written by `python -m tests.trust.campaign --output docs/trust.md"
        f" --moments {arguments.moments} --mutations {arguments.mutations}`"
        f" at commit {_commit()}, Python {platform.python_version()}, {os.cpu_count()} processors,"
        f" {datetime.now(timezone.utc):%Y-%m-%d}. A quick form of it runs with `make test`"
        " (tests/trust), the rest with `make test-long`."
    )
    yield from _summary(found)
    yield from _kills_table(found.killed, found.twice)
    yield from _mutations_table(found.mutated)
    yield from _tries_table(found.tries)


def _summary(found: _Found) -> Iterator[str]:
    tries, mutated, killed = found.tries, found.mutated, found.killed
    problems = Counter(one.problem.split(",")[0] for one in (*tries, *mutated) if one.problem)
    silent = sum(count for name, count in problems.items() if name.startswith("silently"))
    names = {one.kind.name for one in tries}
    doors = {one.kind.door for one in tries}
    yield ""
    yield (
        f"**{len(names)} kinds of bad input at {len(doors)} doors, {len(tries)} tries, and "
        f"{len(mutated)} files with mutated bytes: {problems['traceback']} tracebacks, "
        f"{problems['hang']} hangs, {silent} silent wrong results, {problems['executed']} executed "
        f"names. {len(killed)} runs of {len({one.stage for one in killed})} stages killed or "
        f"stopped: {sum(not one.problem for one in killed)} ended, started again, with the same "
        "files as an undisturbed run.**"
    )
    wrong = [f"* {problem}" for problem in found.problems()]
    if wrong:
        yield from ["", "What is wrong:", "", *wrong]


def _kills_table(killed: list[Trial], twice: dict[str, bool]) -> Iterator[str]:
    yield from ["", "## Killed and stopped at random moments", ""]
    yield (
        "Moments are drawn evenly from the time that an undisturbed run takes. After each, the "
        "same command is run to its end, and every file is compared with those of that run "
        "(but for logs, times and TensorBoard's files). SIGTERM must end a run with exit code 75, "
        "or 0 if it was done, or end it before it had begun."
    )
    yield from ["", "| stage | ranks | kill -9 | SIGTERM | a second run in the folder |"]
    yield "|---|---|---|---|---|"
    for stage in COMMANDS:
        for ranks in sorted({one.ranks for one in killed if one.stage == stage}):
            cells = []
            for name in ("kill -9", "SIGTERM"):
                own = [t for t in killed if (t.stage, t.ranks, t.signal) == (stage, ranks, name)]
                cells.append(f"{sum(not t.problem for t in own)} of {len(own)} identical")
            refused = "refused" if twice[stage] else "NOT REFUSED"
            program = COMMANDS[stage].program.removeprefix("recipes.")
            yield f"| {program} ({stage}) | {ranks} | {' | '.join(cells)} | {refused} |"


def _mutations_table(mutated: list[Mutation]) -> Iterator[str]:
    yield from ["", "## Files with mutated bytes", ""]
    yield (
        "Bytes flipped, cut off, doubled, inserted or zeroed, at seeded places, in one file of "
        "each format that is read. A mutation may leave a file that is as good as before."
    )
    yield from [
        "",
        "| format | tries | refused | left out | read | wrong |",
        "|---|---|---|---|---|---|",
    ]
    for name in FORMATS:
        own = [one for one in mutated if one.format == name]
        counts = Counter(one.outcome for one in own)
        cells = [len(own), counts["refused"], counts["left out"], counts["read"]]
        wrong = sum(bool(one.problem) for one in own)
        yield f"| {name} | {' | '.join(map(str, cells))} | {wrong} |"


def _tries_table(tries: list[Try]) -> Iterator[str]:
    yield from ["", "## Kinds of bad input", ""]
    yield (
        "*Refused*: exit code 2 and one line; *left out*: named, counted, and the others are read; "
        "*read*: it is as good as any other input, or what is odd about it does no harm."
    )
    yield from ["", "| kind | doors | tries | outcome |", "|---|---|---|---|"]
    names: dict[str, list[Try]] = {}
    for one in tries:
        names.setdefault(one.kind.name, []).append(one)
    for name, own in names.items():
        doors = ", ".join(dict.fromkeys(one.kind.door for one in own))
        yield f"| {_escaped(name)} | {doors} | {len(own)} | {', '.join(_outcomes(own))} |"


def _outcomes(tries: Iterable[Try]) -> Iterator[str]:
    counts = Counter(one.problem or one.outcome for one in tries)
    for outcome, count in counts.items():
        yield outcome if len(counts) == 1 else f"{outcome} ({count})"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    raise SystemExit(main())
