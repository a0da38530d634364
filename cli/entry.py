"""Where the console script starts.

Before anything large is imported, Ctrl-C is to end the process as it ends any other program; Python would show where in
its imports it was. `vultus.cli.main` takes the signal over once it can answer in words.
"""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us wants it ignored
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line; see `vultus.cli.main`."""
    from vultus.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
