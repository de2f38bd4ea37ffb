"""Python clients: fetch.py requests|httpx|aiohttp|urllib|websockets URL…, proxies from the environment; one line for each URL."""
import asyncio
import os
import sys

kind, urls = sys.argv[1], sys.argv[2:]


async def by_aiohttp(url):
    import ssl
    import aiohttp
    context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    async with aiohttp.ClientSession(trust_env=True) as s, s.get(url, ssl=context) as r:
        return f"{r.status} {await r.text()}"


async def by_websockets(url):
    from websockets.asyncio.client import connect
    async with connect(url) as ws:
        await ws.send("ping" * 5000)
        return f"101 {len(await ws.recv())}"


def fetch(url):
    if kind == "requests":
        import requests
        r = requests.get(url)
        return f"{r.status_code} {r.text}"
    if kind == "httpx":
        import httpx
        r = httpx.get(url)
        return f"{r.status_code} {r.text}"
    if kind == "urllib":
        import urllib.request
        with urllib.request.urlopen(url) as r:
            return f"{r.status} {r.read().decode()}"
    return asyncio.run(by_aiohttp(url) if kind == "aiohttp" else by_websockets(url))


for u in urls:
    try:
        print(fetch(u))
    except Exception as e:
        print("error", type(e).__name__, str(e).replace("\n", " "))
