// An unmodified program with the official Anthropic SDK. It knows no gateway; it prints what it got, one JSON object a line.
import Anthropic from "@anthropic-ai/sdk";

const messages = [{ role: "user", content: "hello there" }];
const say = (what) => console.log(JSON.stringify(what));
const client = new Anthropic();

async function normal() {
  const model = "claude-sonnet-4-5";
  const message = await client.messages.create({ model, max_tokens: 100, messages });
  say({ what: "messages", text: message.content[0].text, usage: message.usage });
  const final = await client.messages.stream({ model, max_tokens: 100, messages }).finalMessage();
  say({ what: "messages stream", text: final.content[0].text, usage: final.usage });
}

await normal();
