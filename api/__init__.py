"""Published HTTP contracts: the only package with aiohttp.web."""
