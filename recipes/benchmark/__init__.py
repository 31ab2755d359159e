"""What an accelerator makes of each stage."""
