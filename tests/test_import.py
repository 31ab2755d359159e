import subprocess
import sys

HEAVY = (
    "torchaudio",
    "demucs",
    "librosa",
    "lhotse",
    "sklearn",
    "transformers",
    "ray",
    "matplotlib",
)


def test_importing_audiossl_imports_nothing_heavy():
    code = (
        "import sys, audiossl; audiossl.load_encoder; audiossl.Encoder; audiossl.Frames; "
        "audiossl.embed; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_shows_its_public_names_and_nothing_else():
    code = "import audiossl; audiossl.embed; print(*dir(audiossl))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "Encoder", "Frames", "describe", "embed", "load_encoder", "tokenize",
    ]  # fmt: skip
