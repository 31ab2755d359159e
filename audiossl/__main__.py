"""`python -m audiossl`: the same as the command `audiossl`."""

import sys

from audiossl.cli import main

sys.exit(main())
