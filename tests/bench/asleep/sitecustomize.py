"""In every Python process of a lab's engines: the main thread sleeps on SIGUSR2, as code does that waits for ever.

Unlike a process that was stopped by a signal its other threads go on, and no process table shows anything.
"""

import signal
import time

signal.signal(signal.SIGUSR2, lambda *_: time.sleep(86400))
