"""SDK clients in Python: `sdk.py NAME BASE KEY [BASE KEY …]` runs one scenario for each pair and prints what the SDK's user sees, a JSON list a line."""
import asyncio
import json
import sys


def seen(what, *a, **kw):
    """The value of a call, or what its error tells."""
    try:
        v = what(*a, **kw)
        return asyncio.run(v) if asyncio.iscoroutine(v) else v
    except Exception as e:
        cause = e
        while cause.__cause__ or cause.__context__:
            cause = cause.__cause__ or cause.__context__
        status = getattr(e, "status_code", getattr(e, "status", getattr(e, "response_code", None)))
        return {"error": type(e).__name__, "status": status, "text": str(e)} | ({} if status else {"cause": str(cause)})


HELLO = [{"role": "user", "content": "hello \u00e9\u4e16"}]


def given(base, **key):
    """What is `-` comes from the environment, or is the SDK's own default."""
    return {k: v for k, v in key.items() if v != "-"} | {"max_retries": 0, "timeout": 20} | ({"base_url": base} if base != "-" else {})


def openai(base, key):
    from openai import AsyncOpenAI, OpenAI
    conf = given(base, api_key=key)
    c = OpenAI(**conf)

    def ask(model, client=c, **kw):
        return client.chat.completions.create(model=model, messages=HELLO, **kw)

    def stream():
        text = ""
        for e in ask("m", stream=True):
            if not text:  # the stand-in holds the rest back until it is asked this
                assert [m.id for m in c.models.list()] == ["m"]
            text += e.choices[0].delta.content or ""
        return text

    async def later():
        async with AsyncOpenAI(**conf) as a:
            first = (await ask("m", a)).choices[0].message.content
            text = ""
            async for e in await ask("m", a, stream=True):
                if not text:
                    await a.models.retrieve("m")
                text += e.choices[0].delta.content or ""
            return [first, text]
    return [seen(lambda: ask("m", extra_headers={"X-Own": "1"}, extra_query={"q": "a b/c"}).choices[0].message.content),
            seen(stream),
            seen(lambda: c.files.create(file=("a.jsonl", b"{}\n" * 50_000), purpose="batch").id),
            seen(later),
            seen(ask, "answer-429"),
            seen(ask, "answer-500"),
            seen(lambda: ask("fails-once", c.with_options(max_retries=2)).choices[0].message.content)]


def anthropic(base, key):
    from anthropic import Anthropic, AsyncAnthropic
    conf = given(base, api_key=key)
    c = Anthropic(**conf)

    def ask(model, client=c, **kw):
        return client.messages.create(model=model, max_tokens=9, messages=HELLO, **kw)

    def stream():
        text = ""
        with c.messages.stream(model="m", max_tokens=9, messages=HELLO) as s:
            for t in s.text_stream:
                if not text:
                    assert [m.id for m in c.models.list()] == ["m"]
                text += t
        return text

    async def later():
        async with AsyncAnthropic(**conf) as a:
            first = (await ask("m", a)).content[0].text
            text = ""
            async with a.messages.stream(model="m", max_tokens=9, messages=HELLO) as s:
                async for t in s.text_stream:
                    if not text:
                        await a.models.retrieve("m")
                    text += t
            return [first, text]
    return [seen(lambda: ask("m").content[0].text), seen(stream), seen(later), seen(ask, "answer-429"), seen(ask, "answer-500"),
            # some versions and settings show the key as a Bearer token instead
            seen(lambda: Anthropic(**(conf | {"api_key": None, "auth_token": key})).messages.create(model="m", max_tokens=9, messages=HELLO).content[0].text)]


def openai_more(base, key):
    """What is worth a look for one SDK: leaving in the middle of a stream, and the realtime API's WebSocket."""
    from openai import OpenAI
    c = OpenAI(**given(base, api_key=key))

    def leave():
        with c.chat.completions.create(model="endless", messages=HELLO, stream=True) as s:
            return next(iter(s)).choices[0].delta.content

    def realtime():
        with c.realtime.connect(model="m") as r:
            r.send({"type": "response.create", "event_id": "e1"})
            return json.loads(r.recv_bytes())
    return [seen(leave), seen(realtime), seen(lambda: c.chat.completions.create(model="m", messages=HELLO).choices[0].message.content)]


def anthropic_plain(base, key):
    from anthropic import Anthropic
    return [seen(lambda: Anthropic(**given(base, api_key=key)).messages.create(model="m", max_tokens=9, messages=HELLO).content[0].text)]


def openai_plain(base, key):
    from openai import OpenAI
    return [seen(lambda: OpenAI(**given(base, api_key=key)).chat.completions.create(model="m", messages=HELLO).choices[0].message.content)]


def azure(base, key):
    from openai import AzureOpenAI
    c = AzureOpenAI(azure_endpoint="https://my.openai.azure.com" if base == "-" else base, api_key=key, api_version="2024-10-21", max_retries=0)
    return [seen(lambda: c.chat.completions.create(model="m", messages=HELLO).choices[0].message.content)]


def gemini(base, key):
    from google import genai
    c = genai.Client(api_key=key, http_options=genai.types.HttpOptions(**({"base_url": base} if base != "-" else {})))

    def stream():
        text = ""
        for e in c.models.generate_content_stream(model="m", contents="hello"):
            if not text:
                c.models.get(model="m")
            text += e.text
        return text

    async def later():
        return (await c.aio.models.generate_content(model="m", contents="hello")).text

    def code(model):
        try:
            return c.models.generate_content(model=model, contents="hello").text
        except genai.errors.APIError as e:
            return {"error": type(e).__name__, "status": e.code, "text": str(e)}
    return [seen(lambda: c.models.generate_content(model="m", contents="hello").text), seen(stream), seen(later), code("answer-429")]


def github(base, key):
    from github import Auth, Github
    c = Github(auth=Auth.Token(key), retry=None, **({"base_url": base} if base != "-" else {}))
    return [seen(lambda: c.get_user().login),
            seen(lambda: c.get_repo("o/r", lazy=True).create_issue("title \u00e9", body="b", labels=["x y"]).number),
            seen(lambda: c.get_repo("o/r", lazy=True).get_contents("a dir/f.txt").decoded_content.decode()),
            seen(lambda: c.get_repo("o/missing").id)]


def gitlab(base, key):
    import gitlab
    conf = {"keep_base_url": True, "retry_transient_errors": False, "timeout": 20}

    def do(**token):
        c = gitlab.Gitlab(base if base != "-" else None, **token, **conf)
        p = c.projects.get("group/sub project")
        return [p.id, p.files.get("a/b.txt", ref="main").decode().decode(), [i.iid for i in p.issues.list(iterator=True, per_page=1)]]
    return [seen(do, private_token=key), seen(do, oauth_token=key), seen(lambda: gitlab.Gitlab(base if base != "-" else None, private_token=key).projects.get("missing").id)]


def gitlab_by_hand(base, key):
    """The built-in service's upstream ends in /api, where python-gitlab would put that itself."""
    import requests
    base = "https://gitlab.com/api" if base == "-" else base
    return [seen(lambda: requests.get(f"{base}/v4/projects/group%2Fsub%20project", headers={name: form + key}, timeout=20).json())
            for name, form in (("PRIVATE-TOKEN", ""), ("Authorization", "Bearer "))]


def telegram(base, key):
    import telegram
    where = {"base_url": base + "/bot", "base_file_url": base + "/file/bot"} if base != "-" else {}

    async def talk():
        async with telegram.Bot(key, **where) as b:
            m = await b.send_message(7, "hello \u00e9 & more")
            d = await b.send_document(7, b"x" * 200_000, filename="f.bin")
            f = await (await b.get_file("F1")).download_as_bytearray()
            return [b.username, m.message_id, d.message_id, f.decode()]

    async def wrong():
        async with telegram.Bot(key, **where) as b:
            return await b.send_message(1, "answer-429")
    return [seen(talk), seen(wrong)]


def maps(base, key):
    import googlemaps
    c = googlemaps.Client(key=key, retry_timeout=1, **({"base_url": base} if base != "-" else {}))
    return [seen(lambda: c.geocode("1 Main St & 2nd, \u00c5rhus+")[0]["place_id"]),
            seen(lambda: c.distance_matrix(["a|b"], [(1.5, 2)])["rows"]),
            seen(lambda: c.geocode("denied"))]


for i in range(2, len(sys.argv), 2):
    print(json.dumps(globals()[sys.argv[1]](sys.argv[i], sys.argv[i + 1])), flush=True)
