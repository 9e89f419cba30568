"""A worker process that ends with the one that started it, however that one ended."""

import os
from multiprocessing import parent_process
from threading import Thread


def end_with_parent() -> None:
    """For a process pool's ``initializer``: days take minutes, and nobody would hear what they came to."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, name="end with parent", daemon=True).start()
