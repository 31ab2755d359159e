"""The `audiossl` command: one subcommand per thing a user wants of encoders and corpora."""


def main() -> None:
    """Run the command line."""
