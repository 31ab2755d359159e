"""Encoders in the forms of other tools: one file for each, all of them in the table of `forms`."""
