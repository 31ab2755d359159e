"""Where things lie in the folder of a corpus: what its writers and its readers share."""

SAMPLE_RATE = 16_000
"""Hz, of every corpus."""
RECORDING = "recording"
"""Field of the recordings themselves."""
MIXTURE = "mixture"
"""What the recording is called where its stems are named beside it."""
SHAR = "shar"
"""Folder of the shards: lhotse takes every file beside them for a field."""
WAV_HEADER = 44
"""Bytes before the samples of a 16-bit WAV as written here."""
LEVEL_HOP = 80
"""Samples that one entry of a level track is the mean magnitude of."""


def field_file(field_name: str, shard: int) -> str:
    """Name the tar of a field, within the folder of a corpus.

    >>> field_file("vocals", 12)
    'shar/vocals.000012.tar'
    """
    return f"{SHAR}/{field_name}.{shard:06d}.tar"


def cuts_file(shard: int) -> str:
    """Name the file of cuts of a shard, within the folder of a corpus."""
    return f"{SHAR}/cuts.{shard:06d}.jsonl.gz"


def part_file(name: str, shard: int) -> str:
    """Name the columns of one shard."""
    return f"parts/{name}.{shard:06d}.columns"
