"""Reading and writing encoders."""
