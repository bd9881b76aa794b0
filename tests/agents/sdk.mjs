// The Node SDKs, whole and streamed. sdk.mjs anthropic|openai SECRET
// Node 20's own fetch reads no HTTPS_PROXY; undici's dispatcher does.
import { createRequire } from "node:module";

const require = createRequire(process.env.SDK_FOLDER + "/");
const { EnvHttpProxyAgent, fetch } = require("undici");
const dispatcher = new EnvHttpProxyAgent({ requestTls: { allowH2: process.env.SDK_H2 === "1" } });
const through = (url, init) => fetch(url, { ...init, dispatcher });
const [which, secret] = process.argv.slice(2);
const text = `The key is ${secret}, keep it.`;
const messages = [{ role: "user", content: text }];
const said = [];

if (which === "anthropic") {
  const { Anthropic } = require("@anthropic-ai/sdk");
  const client = new Anthropic({ fetch: through });
  const ask = { model: "made-up", max_tokens: 99, messages };
  said.push((await client.messages.create(ask)).content[0].text);
  said.push(await client.messages.stream(ask).finalText());
} else {
  const { OpenAI } = require("openai");
  const client = new OpenAI({ fetch: through });
  said.push((await client.chat.completions.create({ model: "made-up", messages })).choices[0].message.content);
  let joined = "";
  for await (const chunk of await client.chat.completions.create({ model: "made-up", messages, stream: true }))
    joined += chunk.choices[0]?.delta?.content ?? "";
  said.push(joined);
  said.push((await client.responses.create({ model: "made-up", input: messages })).output_text);
}

for (const one of said) {
  console.log(one);
  if (!one.includes(secret)) throw new Error(one);
}
