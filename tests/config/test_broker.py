"""The queue that needs no server loses nothing, doubles nothing and never shows half a message."""

import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection, Exchange, Queue

from config import broker


def connection(folder: Path, **more: float) -> Connection:
    options = more | {
        "data_folder_in": str(folder / "queue"),
        "data_folder_out": str(folder / "queue"),
        "processed_folder": str(folder / "processed"),
        "control_folder": str(folder / "control"),
    }
    return Connection("filesystem://", transport=broker.Transport, transport_options=options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("queue", "processed", "control"):
        (tmp_path / name).mkdir()
    return tmp_path


def send(folder: Path, sender: int, n_messages: int) -> None:
    with connection(folder) as link:
        queue = link.SimpleQueue("default")
        for number in range(n_messages):
            queue.put({"sender": sender, "number": number, "padding": "x" * 2000})
        queue.close()


def take_all(folder: Path, quiet_seconds: float = 1.5) -> list[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    with connection(folder) as link:
        queue = link.SimpleQueue("default")
        while True:
            try:
                message = queue.get(timeout=quiet_seconds)
            except Empty:
                return taken
            message.ack()
            taken.append((message.payload["sender"], message.payload["number"]))


def test_nothing_is_said_of_a_host_that_a_folder_has_not(folder, caplog):
    with connection(folder) as link, link.Pool(1).acquire() as pooled:  # as Celery sends
        pooled.SimpleQueue("default").put("news")
    assert len(list((folder / "queue").iterdir())) == 1
    assert caplog.messages == []


def test_what_nobody_listens_to_is_not_kept(folder):
    with connection(folder) as link:
        heard = Exchange("celeryev", type="topic")
        link.Producer(exchange=heard, routing_key="worker.heartbeat").publish({}, declare=[heard])
        link.Producer(exchange=Exchange("default"), routing_key="default").publish({})
        link.Producer(routing_key="default").publish({})
    assert len(list((folder / "queue").iterdir())) == 2  # those of "default", bound or not


def test_messages_come_in_the_order_of_sending(folder):
    send(folder, 1, 20)
    assert take_all(folder) == [(1, number) for number in range(20)]
    assert list((folder / "queue").iterdir()) == []
    assert list((folder / "processed").iterdir()) == []


@pytest.mark.slow
def test_of_many_workers_each_message_goes_to_exactly_one(folder):
    context = get_context("spawn")
    senders = [context.Process(target=send, args=(folder, number, 150)) for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        for sender in senders:
            sender.start()
        takers = [pool.submit(take_all, folder, 4.0) for _ in range(4)]
        taken = Counter(message for taker in takers for message in taker.result())
    for sender in senders:
        sender.join()
        assert sender.exitcode == 0
    taken.update(take_all(folder))  # what came after a taker had given up
    assert taken == Counter((sender, number) for sender in range(3) for number in range(150))


def test_a_draft_is_not_a_message(folder):
    (folder / "queue" / ".0001.default.msg.abc").write_bytes(b"")
    assert take_all(folder) == []


def test_a_folder_deleted_under_a_running_sender_loses_only_what_was_in_it(folder):
    with connection(folder) as link:
        queue = link.SimpleQueue("default")
        queue.put({"sender": 1, "number": 1})
        for name in ("queue", "processed", "control"):
            shutil.rmtree(folder / name)
        queue.put({"sender": 1, "number": 2})
    assert take_all(folder) == [(1, 2)]


def seconds_to_arrive(folder: Path, *, polling_interval: float) -> float:
    """How long a message, sent half a second after somebody began to wait for it, is on its way."""
    with connection(folder, polling_interval=polling_interval) as link:
        queue = link.SimpleQueue("default")
        sent: list[float] = []

        def send_one() -> None:
            sent.append(time.monotonic())
            send(folder, 1, 1)

        sender = threading.Timer(0.5, send_one)
        sender.start()
        queue.get(timeout=60).ack()
        took = time.monotonic() - sent[0]
        sender.join()
    return took


def test_who_waits_is_woken_by_a_message_and_need_not_look_for_it(folder):
    assert seconds_to_arrive(folder, polling_interval=30) < 10


def test_who_waits_is_woken_from_a_folder_that_was_made_again(folder):
    with connection(folder, polling_interval=30) as link:
        queue = link.SimpleQueue("default")
        with pytest.raises(Empty):
            queue.get(timeout=0.1)
        shutil.rmtree(folder / "queue")
        (folder / "queue").mkdir()
        threading.Timer(0.5, send, (folder, 1, 1)).start()
        began = time.monotonic()
        queue.get(timeout=60).ack()
        assert time.monotonic() - began < 10


def test_where_no_system_tells_of_files_messages_are_looked_for(folder, monkeypatch):
    monkeypatch.setattr(broker, "_inotify", None)
    assert seconds_to_arrive(folder, polling_interval=0.1) < 10


def test_queues_do_not_take_from_each_other(folder):
    with connection(folder) as link:
        link.SimpleQueue("gpu").put({"sender": 1, "number": 1})
    assert take_all(folder) == []


def test_binding_queues_at_the_same_time_forgets_none(folder):
    def bind(name: str) -> None:
        with connection(folder) as link:
            Queue(name, exchange=_exchange(), routing_key=name, channel=link.channel()).declare()

    names = [f"queue{number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(bind, names))
    with connection(folder) as link:
        assert sorted(row[2] for row in broker.Channel.get_table(link.channel(), "shared")) == sorted(names)


def _exchange():
    from kombu import Exchange

    return Exchange("shared", type="direct")
