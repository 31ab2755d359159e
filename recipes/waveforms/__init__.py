"""Methods that need waveforms and nothing else."""
