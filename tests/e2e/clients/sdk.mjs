// SDK clients in Node: `sdk.mjs NAME BASE KEY [BASE KEY …]` runs one scenario for each pair and prints what the SDK's user sees, a JSON list a line.
// MODULES is the folder of the npm packages.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
const require = createRequire(pathToFileURL(process.env.MODULES + "/"));

async function seen(what) {
  try {
    return await what();
  } catch (e) {
    let cause = e;
    while (cause.cause) cause = cause.cause;
    return { error: e.constructor.name, status: e.status ?? null, text: e.message, ...(e.status ? {} : { cause: cause.message }) };
  }
}
// What is `-` comes from the environment, or is the SDK's own default.
const at = (base, key) => ({ maxRetries: 0, timeout: 20000, ...(base === "-" ? {} : { baseURL: base }), ...(key === "-" ? {} : { apiKey: key }) });
const messages = [{ role: "user", content: "hello \u00e9\u4e16" }];

async function openai(base, key) {
  const { OpenAI, toFile } = require("openai");
  const c = new OpenAI(at(base, key));
  const ask = (model, more = {}) => c.chat.completions.create({ model, messages, ...more });
  return [
    await seen(async () => (await ask("m")).choices[0].message.content),
    await seen(async () => {
      let text = "";
      for await (const e of await ask("m", { stream: true })) {
        if (!text) await c.models.list();  // the stand-in holds the rest back until it is asked this
        text += e.choices[0].delta.content ?? "";
      }
      return text;
    }),
    await seen(async () => (await c.files.create({ file: await toFile(Buffer.alloc(150000, "x"), "a.jsonl"), purpose: "batch" })).id),
    await seen(() => ask("answer-429")),
    await seen(() => ask("answer-500")),
  ];
}

async function anthropic(base, key) {
  const { Anthropic } = require("@anthropic-ai/sdk");
  const c = new Anthropic(at(base, key));
  const ask = (model) => c.messages.create({ model, max_tokens: 9, messages });
  return [
    await seen(async () => (await ask("m")).content[0].text),
    await seen(async () => {
      let text = "";
      for await (const e of c.messages.stream({ model: "m", max_tokens: 9, messages })) {
        if (e.type !== "content_block_delta") continue;
        if (!text) await c.models.list();
        text += e.delta.text;
      }
      return text;
    }),
    await seen(() => ask("answer-429")),
    await seen(() => ask("answer-500")),
  ];
}

async function octokit(base, key) {
  const { Octokit } = await import(pathToFileURL(process.env.MODULES + "/@octokit/rest/dist-src/index.js"));
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const c = new Octokit({ auth: key, log, ...(base === "-" ? {} : { baseUrl: base }) });
  const repo = { owner: "o", repo: "r" };
  return [
    await seen(async () => (await c.users.getAuthenticated()).data.login),
    await seen(async () => (await c.issues.create({ ...repo, title: "title \u00e9", labels: ["x y"] })).data.number),
    await seen(async () => (await c.repos.getContent({ ...repo, path: "a dir/f.txt" })).data.name),
    await seen(async () => (await c.repos.get({ owner: "o", repo: "missing" })).data.id),
  ];
}

const [name, ...pairs] = process.argv.slice(2);
for (let i = 0; i < pairs.length; i += 2)
  console.log(JSON.stringify(await { openai, anthropic, octokit }[name](pairs[i], pairs[i + 1])));
process.exit(0);
