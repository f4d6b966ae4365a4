"""What happens when Ctrl-C or a scheduler's SIGTERM comes in the middle of a training step?"""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interruption:
    """Within the block, the first SIGINT or SIGTERM only sets `asked`; a second one interrupts at once.

    So a training can finish its step, save, and leave; outside the main thread, where Python
    allows no handlers, nothing is changed.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interruption:
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
