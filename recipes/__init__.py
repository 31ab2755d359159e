"""How methods are run, stage by stage, independent of corpora."""

import sys

from audiossl.stand_ins import HELP, replace_libraries

# `python -m recipes.<recipe>.<stage> --help`: while Python looks for the module, argv[0] is "-m".
if sys.argv[0] == "-m" and any(word in HELP for word in sys.argv[1:]):
    replace_libraries()
