"""``vpp warm-up``: compile the pricing oracles now; ``make setup`` calls it, so that nobody waits for it later."""

import time

from rich.console import Console

from vpp.warm_up import ready_oracles


def warm_up() -> None:
    """Compile the pricing oracles of the fast solver, once on a machine and version; later calls find them."""
    console = Console(highlight=False)
    began = time.perf_counter()
    told = False

    def tell(text: str) -> None:
        nonlocal told
        if not told:  # one line, before it begins
            told = True
            console.print(f"{text.partition(': ')[0]} (a minute or two)")

    functions = ready_oracles(tell)
    if functions:
        console.print(f"{functions} functions compiled in {time.perf_counter() - began:.0f} s")
