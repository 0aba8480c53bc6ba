"""Threads that prepare data while the main thread trains."""

import threading

import torch

_changing = threading.Lock()


def use_one_core() -> None:
    """Let torch compute on one core in the thread that calls this, and in no other.

    Otherwise the first large operation of the thread starts a team of threads of its own. As soon as there are more of
    them than cores, OpenMP's threads fall asleep between operations, and training takes up to twice as long.
    """
    with _changing:
        default = torch.get_num_threads()
        torch.set_num_threads(1)
        # torch takes that as the default of later threads, too. Any thread can set it back, but only for itself.
        setter = threading.Thread(target=torch.set_num_threads, args=(default,))
        setter.start()
        setter.join()
