"""Work behind one's back: in order, bounded, and no error is lost."""

import threading

import pytest

from core.behind import Behind


def test_pieces_are_done_in_order_on_one_other_thread():
    done: list[tuple[int, int]] = []
    with Behind(ahead=3) as behind:
        for number in range(50):
            behind.do(lambda number=number: done.append((number, threading.get_ident())))
    assert [number for number, _ in done] == list(range(50))
    assert len({thread for _, thread in done}) == 1
    assert threading.get_ident() not in {thread for _, thread in done}


def test_no_more_than_so_many_wait():
    go, started = threading.Event(), []
    with Behind(ahead=1) as behind:
        behind.do(lambda: started.append(go.wait(10)))
        threading.Timer(0.05, go.set).start()
        behind.do(lambda: started.append(go.is_set()))  # waits for the first
        assert go.is_set()
    assert started == [True, True]


def test_an_error_comes_up_and_nothing_more_is_begun():
    done: list[str] = []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), Behind(ahead=1) as behind:
        behind.do(fail)
        behind.do(done.append, "after")
    assert done == []


def test_the_last_error_comes_up_at_the_end():
    with pytest.raises(ZeroDivisionError), Behind() as behind:
        behind.do(lambda: 1 / 0)


def test_an_error_of_ones_own_is_the_one_that_is_told():
    with pytest.raises(KeyError), Behind() as behind:
        behind.do(lambda: 1 / 0)
        raise KeyError
