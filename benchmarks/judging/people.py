"""People as fast as they can click: each sends a judgement, reads the answer, and sends the next at once.

One process, one thread and no HTML parser, since it shares the machine with what it measures; its own processor time is told.
"""

import asyncio
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

Cpu = Callable[[], tuple[float, float]]
TIMEOUT = aiohttp.ClientTimeout(total=120)


@dataclass
class Measured:
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds, one a cycle
    parts: dict[str, list[float]] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    n_done: int = 0  # judgements that the server said are kept, outside the measured time too
    n_bytes: int = 0
    web_cpu: float = 0.0  # seconds in the measured time
    database_cpu: float = 0.0
    client_cpu: float = 0.0

    @property
    def n(self) -> int:
        return len(self.latencies)


class OutOfWork(Exception):
    """There is no task left for this person."""


class Person(Protocol):
    async def begin(self) -> None: ...
    async def cycle(self, found: Measured) -> int: ...
    async def close(self) -> None: ...


def new_session(cookies: dict[str, str]) -> aiohttp.ClientSession:
    jar = aiohttp.CookieJar(unsafe=True)  # for an address without a name
    return aiohttp.ClientSession(cookies=cookies, timeout=TIMEOUT, cookie_jar=jar)


class WhetstonePerson:
    """The annotate page with htmx: the POST of a judgement is answered with the next task's HTML."""

    _TASK = re.compile(r'<form id="judge"[^>]* action="([^"]+)"')
    _TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')

    def __init__(self, url: str, cookies: dict[str, str], campaign: str, choices: Sequence[str]) -> None:
        self.start = f"{url}/p/bench/annotate/campaign/{campaign}/"
        self.origin, self.choices = url, choices
        self.cookies = cookies
        self.task, self.token, self.n = "", "", 0

    async def begin(self) -> None:
        self.http = new_session(self.cookies)
        async with self.http.get(self.start) as answer:
            page = await answer.text()
            answer.raise_for_status()
        found = self._TOKEN.search(page)
        if not found:
            raise OutOfWork(f"no form at the start: {page[:300]}")
        self.token = found[1]
        status, page = await self._post(self.start, {})
        self._read(status, page)

    async def cycle(self, found: Measured) -> int:
        self.n += 1
        fields = {"choice": self.choices[self.n % len(self.choices)], "active": "12", "open": "14"}
        status, page = await self._post(self.task, fields)
        if status != 200:
            found.problems[str(status)] += 1
            status, page = await self._post(self.start, {})
            self._read(status, page)
            return 0
        found.n_done += 1
        self._read(status, page)
        return len(page)

    async def _post(self, path: str, fields: dict[str, str]) -> tuple[int, str]:
        url = path if path.startswith("http") else self.origin + path
        headers = {"HX-Request": "true", "Referer": url, "Accept-Encoding": "identity"}
        async with self.http.post(url, data={**fields, "csrfmiddlewaretoken": self.token}, headers=headers) as answer:
            return answer.status, await answer.text(encoding="utf-8")

    def _read(self, status: int, page: str) -> None:
        task = self._TASK.search(page)
        if not task:
            raise OutOfWork(f"{status}: {page[:300]}")
        self.task = task[1]

    async def close(self) -> None:
        await self.http.close()


class LabelStudioPerson:
    """Its editor's two calls: submit the annotation, then ask for the next task."""

    def __init__(self, url: str, cookies: dict[str, str], project: int) -> None:
        self.url, self.project, self.task, self.n = url, project, 0, 0
        self.cookies = cookies

    async def begin(self) -> None:
        self.http = new_session(self.cookies)
        found = Measured()
        await self._next(found)
        if found.problems:
            raise SystemExit(f"Label Studio gives no task: {dict(found.problems)}")

    async def cycle(self, found: Measured) -> int:
        self.n += 1
        selected = "left" if self.n % 2 else "right"
        result = [{
            "id": f"r{self.n}", "from_name": "pairwise", "to_name": "answer1", "type": "pairwise",
            "value": {"selected": selected},
        }]  # fmt: skip
        began = time.perf_counter()
        url = f"{self.url}/api/tasks/{self.task}/annotations/?project={self.project}"
        async with self.http.post(url, json={"result": result, "lead_time": 14.0}) as answer:
            await answer.read()
            if answer.status == 201:
                found.n_done += 1
            else:
                found.problems[f"submit {answer.status}"] += 1
        found.parts.setdefault("submit", []).append(time.perf_counter() - began)
        return await self._next(found)

    async def _next(self, found: Measured) -> int:
        began = time.perf_counter()
        async with self.http.get(f"{self.url}/api/projects/{self.project}/next/") as answer:
            body = await answer.read()
            if answer.status == 404:
                raise OutOfWork(body.decode(errors="replace"))
            if answer.status != 200:
                found.problems[f"next {answer.status}"] += 1
                return 0
        found.parts.setdefault("next", []).append(time.perf_counter() - began)
        self.task = json.loads(body)["id"]
        return len(body)

    async def close(self) -> None:
        await self.http.close()


async def drive(people: Sequence[Person], cpu: Cpu, seconds: float, *, warm_up: float = 2.0) -> Measured:
    """Let all of them judge for so long, after a warm-up that is not counted.

    cpu  says how many seconds (web, database) have used so far
    Each person finishes what was begun, so that what was kept can be counted afterwards.
    """
    found = Measured(seconds=seconds)
    for person in people:
        await person.begin()
    begins = time.perf_counter() + warm_up
    ends = begins + seconds
    marks: list[tuple[float, ...]] = []

    async def clock() -> None:
        for moment in (begins, ends):
            await asyncio.sleep(moment - time.perf_counter())
            own = os.times()
            marks.append((*cpu(), own.user + own.system))

    async def judge(person: Person) -> None:
        while (began := time.perf_counter()) < ends:
            try:
                size = await person.cycle(found)
            except OutOfWork as problem:
                found.problems[f"out of work: {str(problem)[:80]}"] += 1
                return
            except (aiohttp.ClientError, TimeoutError) as problem:
                found.problems[type(problem).__name__] += 1
                await asyncio.sleep(0.05)
                continue
            if size and began >= begins and (now := time.perf_counter()) <= ends:
                found.latencies.append(now - began)
                found.n_bytes += size

    await asyncio.gather(clock(), *(judge(person) for person in people))
    for person in people:
        await person.close()
    found.web_cpu, found.database_cpu, found.client_cpu = (b - a for a, b in zip(*marks, strict=True))
    return found
