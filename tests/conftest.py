"""Setup for all tests."""

import signal

# A shell that starts the tests in the background has them ignore Ctrl-C, and their children with them; the tests of
# Ctrl-C need it heard.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
