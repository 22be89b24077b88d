"""The short way for plain events: a protocol of our own that hands everything else over to aiohttp."""
