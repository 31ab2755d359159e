"""Time an item and peak memory of stages while a corpus grows: whole processes, from files on."""

import numpy as np
import soundfile

from tests.benchmarks.processes import run
from tests.benchmarks.rounds import record

COUNTS = (1000, 4000)
TASKS = "[{name: pitch, label: pitch, group: recording}]"


def write_files(folder, count):
    """Write a second of one of two pitches each, and a table of their labels and splits."""
    times, generator = np.arange(16_000) / 16_000, np.random.default_rng(0)
    folder.mkdir()
    rows = ["path,pitch,split"]
    for index in range(count):
        pitch, frequency = (("low", 200), ("high", 1000))[index % 2]
        samples = 0.1 * np.sin(2 * np.pi * frequency * times) + 0.05 * generator.normal(size=16_000)
        soundfile.write(folder / f"{index:04}.wav", samples, 16_000)
        rows.append(f"{index:04}.wav,{pitch},{('train', 'train', 'valid', 'test')[index // 2 % 4]}")
    table = folder.with_suffix(".csv")
    table.write_text("\n".join(rows))
    return table


def test_stages_while_the_corpus_grows(tmp_path):
    seconds, peaks = {}, {}
    for count in COUNTS:
        table, place = write_files(tmp_path / f"{count}", count), tmp_path / f"of_{count}"
        place.mkdir()
        cuts = ("--cuts", place / "cuts")
        stages = {
            "prepare": (
                "recipes.prepare.folder", "--folder", table.with_suffix(""), "--labels", table,
                "--output", place / "cuts",
            ),
            "embed": (
                "recipes.probe.embed", *cuts, "--encoders", "{bands: 'log_mel:40'}",
                "--random_of", "[]", "--output", place / "embeddings",
            ),
            "fit": (
                "recipes.probe.fit", *cuts, "--embeddings", place / "embeddings", "--tasks", TASKS,
                "--probes", "[linear]", "--bootstrap.replicates", "50",
                # t-SNE takes 10 s an encoder, whatever the number of items.
                "--map.projection", "pca", "--output", place / "fit",
            ),
        }  # fmt: skip
        for name, words in stages.items():
            seconds[name, count], peaks[name, count] = run(place / f"{name}.txt", *words)
    less, more = COUNTS
    for name in stages:
        items = {count: seconds[name, count] / count for count in COUNTS}
        print(name, "ms an item", {n: round(1e3 * s, 2) for n, s in items.items()}, "MiB", peaks)
        memory = [peaks[name, count] for count in (more, less)]
        record(
            f"{name}, an item of {more} files against one of {less}, whole processes of "
            f"{memory[0]:.0f} and {memory[1]:.0f} MiB",
            [items[less] / items[more]], [items[more]], goal=1.0, floor="", itself=True,
        )  # fmt: skip
        assert items[more] < 1.2 * items[less]
        assert memory[0] < 1.2 * memory[1]
