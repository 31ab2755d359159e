"""Write docs/trust.md: every kind of bad input at every door, and stages killed at any moment.

    python -m tests.trust.campaign --output docs/trust.md
    python -m tests.trust.campaign --moments 2 --minutes 5     a look, printed

Kinds are in tests/trust/kinds.py, formats in tests/trust/fuzz.py, stages in tests/trust/world.py.
What is tried is the same in every campaign with the same seed; moments are shares of the time that
a stage takes, so what they hit is not.
"""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from tests.trust.forks import preload
from tests.trust.fuzz import FORMATS, Mutation, mutations
from tests.trust.kills import Trial, second_run_is_refused, trials
from tests.trust.kinds import kinds
from tests.trust.tries import Try, attempt
from tests.trust.world import COMMANDS, build


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
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    preload()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        world = build((arguments.world or scratch / "world").resolve())
        end = time.monotonic() + 60 * arguments.minutes
        tries = [attempt(kind, world, scratch) for kind in kinds()[:: arguments.every]]
        mutated = list(mutations(arguments.mutations, world, scratch, arguments.seed))
        killed = list(_killed(world, scratch, arguments, end))
        twice = {stage: second_run_is_refused(stage, world, scratch) for stage in COMMANDS}
    page = "\n".join(_page(tries, mutated, killed, twice, arguments))
    if arguments.output:
        arguments.output.write_text(page + "\n", encoding="utf-8")
    else:
        print(page)
    problems = [one.problem for one in (*tries, *mutated, *killed) if one.problem]
    print(f"{len(problems)} problems")
    return int(bool(problems) or not all(twice.values()))


def _killed(
    world: Path, scratch: Path, arguments: argparse.Namespace, end: float
) -> Iterator[Trial]:
    """Disturb all stages in turn, a moment at a time, until the moments or the time are out."""
    for done in range(arguments.moments):
        for ranks in arguments.ranks:
            for stage in COMMANDS:
                if time.monotonic() > end:
                    return
                seed = 1000 * arguments.seed + done
                yield from trials(stage, world, scratch, 1, ranks=ranks, seed=seed)


def _page(
    tries: list[Try],
    mutated: list[Mutation],
    killed: list[Trial],
    twice: dict[str, bool],
    arguments: argparse.Namespace,
) -> Iterator[str]:
    yield "# What was tried to break it, and what came of it"
    yield ""
    yield (
        "Written by `python -m tests.trust.campaign --output docs/trust.md"
        f" --moments {arguments.moments} --mutations {arguments.mutations}`"
        f" at commit {_commit()}, Python {platform.python_version()}, {os.cpu_count()} processors,"
        f" {datetime.now(timezone.utc):%Y-%m-%d}. A quick form of it runs with `make test`"
        " (tests/trust), the rest with `make test-long`."
    )
    yield from _summary(tries, mutated, killed)
    yield from _kills_table(killed, twice)
    yield from _mutations_table(mutated)
    yield from _tries_table(tries)


def _summary(tries: list[Try], mutated: list[Mutation], killed: list[Trial]) -> Iterator[str]:
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
    wrong = [f"* {one.kind.door}, {one.kind.name}: {one.problem}" for one in tries if one.problem]
    wrong += [f"* {one.format}, seed {one.seed}: {one.problem}" for one in mutated if one.problem]
    wrong += [
        f"* {one.stage}, {one.signal} after {one.moment:.2f} s on {one.ranks} ranks: {one.problem}"
        for one in killed
        if one.problem
    ]
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
