"""The same functions as formulas would give, with the memory and time of one pass."""
