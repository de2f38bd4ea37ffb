// Node: fetch by undici with EnvHttpProxyAgent (UNDICI names the package's folder), or node's own with NODE_USE_ENV_PROXY; and https.get.
import { createRequire } from "node:module";
import http from "node:http";
import https from "node:https";

let get = fetch;
if (process.env.UNDICI) {
  const undici = createRequire(import.meta.url)(process.env.UNDICI);
  const dispatcher = new undici.EnvHttpProxyAgent();
  get = (url) => undici.fetch(url, { dispatcher });
}
function classic(url) {
  return new Promise((done, failed) => {
    const request = (url.startsWith("https") ? https : http).get(url, (answer) => {
      let body = "";
      answer.on("data", (d) => (body += d));
      answer.on("end", () => done({ status: answer.statusCode, text: () => body }));
    });
    request.on("error", failed);
  });
}
const ways = process.env.UNDICI ? [get] : [get, classic];
for (const url of process.argv.slice(2)) {
  for (const way of ways) {
    try {
      const answer = await way(url);
      console.log(answer.status, await answer.text());
    } catch (e) {
      console.log("error", e.message, e.cause?.message ?? "");
    }
  }
}
process.exit(0);
