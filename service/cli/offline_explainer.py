"""Explains an event where no service runs, by what lies in the data folder; nothing there is changed."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.directory import Directory
from actors.explainer import Explainer
from actors.salts import DAY_S, SaltBook
from service.cli.assembly import CACHE_FOLDER, SNAPSHOT_FILE
from service.cli.context import SITES_FILE
from service.cli.stores import load_configured_tables
from service.clock import wall
from service.config import Config
from service.errors import QuestionInvalid
from service.ingestion.explanation import DryRun
from service.ingestion.user_agent import UserAgents
from service.sites.sqlite import SALT_BYTES
from service.sites.sqlite_view import SqliteSiteView
from service.snapshot import read_snapshot
from service.user_agents.engine import UserAgentEngine
from service.wire.explain_api import Asked, decode_question, describe_errors
from service.wire.forwarded import TrustedProxies


async def explain_offline(config: Config, question: bytes) -> DryRun:
    """Explain as a service that starts now would. Raises QuestionInvalid and other GatehouseErrors."""
    asked = decode_question(question, now=wall(), trusted=TrustedProxies(config.trusted_proxies))
    if not isinstance(asked, Asked):
        raise QuestionInvalid(describe_errors(asked))
    async with _explainer(config) as explainer:
        return DryRun(asked.steps, await explainer.explain(asked.request))


@asynccontextmanager
async def _explainer(config: Config) -> AsyncIterator[Explainer]:
    directory, salts = Directory(), SaltBook()
    # Never started, so it reads the built databases but builds none.
    engine = UserAgentEngine(config.data_dir / CACHE_FOLDER)
    user_agents = UserAgents(engine.take_apart, capacity=1, explain=engine.explain)
    file = config.data_dir / SITES_FILE
    view = SqliteSiteView(file)
    today = int(wall()) // DAY_S
    # Where today has no salt yet the next start makes one; here one that is thrown away stands in.
    salts.by_day = {today: secrets.token_bytes(SALT_BYTES)}
    try:
        if file.exists():
            await view.start()
            directory.by_domain = {key.domain: key.site_id for key in await view.keys()}
            salts.by_day = salts.by_day | await view.salts(today=today)
        yield Explainer(
            directory=directory,
            load_site=view.get,
            salts=salts,
            tables=load_configured_tables(config, user_agents).tables,
            memories=read_snapshot(config.data_dir / SNAPSHOT_FILE, now=wall()),
            clock=wall,
            find_awake=lambda _: None,
            is_down=lambda _: False,
        )
    finally:
        await view.close()
