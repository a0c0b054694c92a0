"""What the fault catalogue's tests share: one exchange as the engine makes it, certificates, and whole runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.errors import GatewayUnavailable
from runner.core.events import Event, What
from runner.core.limits import Budget
from runner.core.ports import Lease
from runner.core.schedule import Scheduler
from runner.core.values import Charge, Failure, Message, Reply, Request, Status
from runner.core.work import Ask, Finished, Task
from runner.engines.local import Engine
from runner.gateway.asking import Asking
from runner.gateway.client import Client
from runner.gateway.secret import Secret
from runner.ledgers.memory import MemoryLedger
from runner.testing import ScriptedGateway, charge_of, run, task

TOKEN = "dapi0123456789abcdef-secret"  # none of a real account

# One exchange: the dialect encodes, the client sends over a socket, the dialect decodes.


@pytest.fixture
def token() -> str:
    """The token that every exchange carries."""
    return TOKEN


Exchange = Callable[..., Awaitable[Reply | Failure]]


@pytest_asyncio.fixture
async def ask() -> AsyncIterator[Exchange]:
    """Ask a server one question, over the connections that were opened to it before."""
    async with AsyncExitStack() as stack:
        askers: dict[str, Asking] = {}

        async def send(server: Any, prompt: str = "hello", *, dialect: str = "chat", **options: Any) -> Reply | Failure:
            if server.url not in askers:
                client = Client(server.url, Secret(TOKEN), **{"timeout": 5.0} | options)
                models = {"m": Model(id="m", provider="Somebody")}
                askers[server.url] = Asking(await stack.enter_async_context(client), models)
            row = task(0, "m")
            row.dialects = {"m": dialect}
            row.request = Request(messages=(Message(role="user", content=prompt),))
            return await askers[server.url](Ask(row, "m", Lease("m", Charge(1, 10, 5), 0.0, []), 1, 0.0))

        yield send


@pytest.fixture(scope="session")
def said() -> Callable[..., bytes]:
    """Make a whole HTTP response."""

    def make(body: Any = b"", status: str = "200 OK", *headers: str, kind: str = "application/json") -> bytes:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(raw)}", *headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw

    return make


@pytest.fixture(scope="session")
def answer() -> dict[str, Any]:
    """What a gateway answers in chat completions where all is well."""
    return {
        "model": "m-1",
        "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
    }


# Certificates.


@dataclass(frozen=True)
class Authority:
    """Somebody who vouches for hosts, and keeps its files in a folder."""

    folder: Path
    issue: Callable[..., ssl.SSLContext]
    """Make a server's context: `host`, and the days from which and until which its certificate holds."""

    @property
    def path(self) -> Path:
        return self.folder / "authority.pem"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of our own, made for these tests."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("authority")
    root, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)

    def name(common: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])

    def certificate(key: Any, host: str, days: tuple[int, int], *, is_root: bool = False) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(host))
            .issuer_name(name("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        )
        return bytes(builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    (folder / "authority.pem").write_bytes(certificate(root, "authority", (-9, 9), is_root=True))

    def issue(host: str = "localhost", days: tuple[int, int] = (-1, 1)) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        path = folder / f"{host}{days}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate(key, host, days)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    return Authority(folder, issue)


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The same, where the user trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    return authority


# Whole runs, in time that jumps.


@dataclass
class Played:
    """What came of a run."""

    gateway: ScriptedGateway
    scheduler: Scheduler
    ledger: MemoryLedger
    events: list[Event] = field(default_factory=list)
    ended_at: float = 0.0
    gave_up: str = ""
    """What the engine raised where the gateway was out of patience's reach."""

    @property
    def ends(self) -> dict[int, Status]:
        """The outcome of each row; a second one of the same row is an error."""
        finished = [event.finished for event in self.events if event.finished is not None]
        ends = {end.task.row: end.status for end in finished}
        assert len(ends) == len(finished)
        return ends

    @property
    def failures(self) -> list[Failure]:
        """What errored rows ended with."""
        results = [event.finished.result for event in self.events if event.finished is not None]
        return [result for result in results if isinstance(result, Failure)]

    def sent(self, *models: str) -> list[float]:
        """When requests went out, to these models or to all."""
        return [sent.at for sent in self.gateway.sent if sent.model in models or not models]

    def landings(self) -> list[Event]:
        """Everything that came back, in order."""
        return [event for event in self.events if event.what is What.LANDED]


async def drive(
    rows: Iterable[Task | Finished],
    gateway: ScriptedGateway,
    budgets: Mapping[str, Budget],
    *,
    caps: Caps = Caps(),  # noqa: B008
    learns: bool = False,
    seed: int = 1,
    attempts: int = 5,
    **options: Any,
) -> Played:
    """One run, from the present moment of the running loop on."""
    loop, ledger = asyncio.get_running_loop(), MemoryLedger(budgets, learns=learns)
    models = [Model(id=name, provider="Somebody") for name in budgets]
    scheduler = Scheduler(
        budgets=budgets,
        ledger=ledger,
        charge=charge_of,
        spending=Spending(caps, models, loop.time()),
        rng=Random(seed),
        attempts=attempts,
    )
    played = Played(gateway, scheduler, ledger)
    try:
        await Engine(scheduler, iter(rows), gateway, played.events.append, **options).run()
    except GatewayUnavailable as error:
        played.gave_up = str(error)
    played.ended_at = loop.time()
    return played


@pytest.fixture
def play() -> Callable[..., Played]:
    """Run rows against a gateway to the end, under no limits unless some are given."""

    def start(
        rows: Iterable[Task | Finished],
        gateway: ScriptedGateway,
        budgets: Mapping[str, Budget] | None = None,
        **more: Any,
    ) -> Played:
        return run(drive(rows, gateway, budgets or {"a": ()}, **more))

    return start


@pytest.fixture
def play_beside() -> Callable[..., list[Played]]:
    """Run batches of rows beside each other, each with a scheduler of its own, and whoever is `beside` them."""

    def start(
        *batches: Iterable[Task],
        gateway: ScriptedGateway,
        budgets: Mapping[str, Budget],
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
        **more: Any,
    ) -> list[Played]:
        async def all_of_them() -> list[Played]:
            other = asyncio.ensure_future(beside()) if beside else None
            runs = (drive(rows, gateway, budgets, seed=seed, **more) for seed, rows in enumerate(batches))
            played = list(await asyncio.gather(*runs))
            if other is not None:
                other.cancel()
                await asyncio.gather(other, return_exceptions=True)
            return played

        return run(all_of_them())

    return start
