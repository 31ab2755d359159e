"""From any corpus to shards of 16 kHz mono cuts: `folder`, `kaldi` or `lhotse`."""
