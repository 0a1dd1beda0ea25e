"""`python -m flowjax_lite` is the console command `flowjax-lite`."""

import sys

from flowjax_lite.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
