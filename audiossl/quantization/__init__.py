"""From frames to codes and back."""
