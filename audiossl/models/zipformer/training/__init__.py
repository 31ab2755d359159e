"""What training alone does: schedules, skips and masks, limits of parameters, regularizers."""
